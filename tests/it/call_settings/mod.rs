//! Settings that calls ask for: what they reach, who may, and that they are gone behind the call.

mod allowed_settings;
mod lost_commits;
mod session_settings;
mod settings_behind;

use rowgate::value::Kind;
use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::transact_response::Reply;
use rowgate::value::proto::{Begin, ExecuteBatchRequest, QueryOptions, ResultSet, Setting};

use crate::harness::Service;
use crate::harness::client::{Client, Failure, request_with};
use crate::harness::postgres::Postgres;
use crate::harness::unit::{Transaction, batch};

/// The ways in which a call sends a statement with settings.
pub(crate) const WAYS: [Way; 5] =
    [Way::Query, Way::ReadOnly, Way::Stream, Way::Batch, Way::Transact];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Query,
    ReadOnly,
    Stream,
    Batch,
    Transact,
}

pub(crate) fn settings(pairs: &[(&str, &str)]) -> Vec<Setting> {
    let setting =
        |(name, value): &(&str, &str)| Setting { name: (*name).into(), value: (*value).into() };
    pairs.iter().map(setting).collect()
}

fn options(pairs: &[(&str, &str)]) -> QueryOptions {
    QueryOptions { settings: settings(pairs), ..QueryOptions::default() }
}

/// Opens a transaction with settings.
async fn begin(client: &Client, pairs: &[(&str, &str)]) -> Result<Transaction, Failure> {
    let mut transaction = client.transact().await;
    let begin = Begin { settings: settings(pairs), ..Begin::default() };
    transaction.send(Command::Begin(begin)).await;
    let reply = transaction.reply().await?;
    assert_eq!(reply, Some(Reply::Begun(Default::default())));
    Ok(transaction)
}

impl Way {
    /// Runs a statement with settings, and commits it.
    pub(crate) async fn run(
        self,
        client: &Client,
        sql: &str,
        pairs: &[(&str, &str)],
    ) -> Result<ResultSet, Failure> {
        match self {
            Self::Query => client.run(request_with(sql, options(pairs))).await,
            Self::ReadOnly => {
                let options = QueryOptions {
                    settings: settings(pairs),
                    ..crate::harness::client::read_only()
                };
                client.run(request_with(sql, options)).await
            }
            Self::Stream => {
                let streamed = client.stream(request_with(sql, options(pairs))).await?;
                let mut result = ResultSet::default();
                result.rows = streamed.rows;
                Ok(result)
            }
            Self::Batch => {
                let request =
                    ExecuteBatchRequest { options: Some(options(pairs)), ..batch(&[sql]) };
                Ok(client.batch(request).await?.results.remove(0))
            }
            Self::Transact => {
                let mut transaction = begin(client, pairs).await?;
                let result = transaction.query(sql, &[]).await?;
                transaction.commit().await?;
                Ok(result)
            }
        }
    }
}

/// The only text of a result.
pub(crate) fn text(result: &ResultSet) -> &str {
    let kind = &result.rows[0].values[0].kind;
    if let Some(Kind::TextValue(text)) = kind { text } else { "not a text" }
}

/// A service that allows some settings, with one connection, which all calls share.
pub(crate) async fn service(lines: &str) -> Service {
    let postgres = Postgres::start();
    postgres.psql(
        "create schema acme; create schema beta; create table acme.t (name text); create table beta.t (name int);
         insert into acme.t values ('acme'); insert into beta.t values (7); create table log (n int);",
    );
    let lines = format!("pool.min = 1\npool.max = 1\npool.lanes = 2\n{lines}");
    Service::on(postgres, &lines).await
}
