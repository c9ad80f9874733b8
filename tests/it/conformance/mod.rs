//! One statement, four ways: Query, StreamQuery, ExecuteBatch and Transact answer each case with the same
//! rows, columns and counts, or with the same code, reason and details, and leave the same behind.

mod cases;
mod mariadb;

use std::time::Duration;

use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::transact_response::Reply;
use rowgate::value::proto::{
    Begin, Column, DatabaseError, ExecuteBatchRequest, QueryOptions, QueryRequest, Row,
    TransactQuery, TransactionOptions,
};
use tonic::Code;

use cases::{Case, cases};

use crate::harness::Backend;
use crate::harness::client::{Client, Failure};
use crate::harness::mariadb::Mariadb;
use crate::harness::postgres::Postgres;
use crate::harness::server::Server;
use crate::harness::unit::{Transaction, statement};

/// As many as make the claim worth something.
const ENOUGH: usize = 40;

/// The content of the tables before each way of each case.
const STATE: [&str; 5] = [
    "drop table if exists made",
    "delete from t",
    "delete from p",
    "insert into p values (1), (2)",
    "insert into t (id, n, name, p) values (1, 10, 'one', 1), (2, 20, 'two', 2), (3, 30, null, null)",
];

const TABLES: [&str; 2] = [
    "create table p (id integer primary key)",
    "create table t (id integer primary key, n integer not null, name varchar(40), p integer, \
     constraint positive check (n > 0), constraint one_name unique (name), \
     constraint of_p foreign key (p) references p (id))",
];

/// The tables that PostgreSQL alone has.
const MORE: &str = "create role app login password 'secret'; grant all on schema public to app; \
    create table hidden (id int); create type mood as enum ('sad', 'happy')";

/// The ways.
#[derive(Debug, Clone, Copy)]
enum Way {
    Query,
    StreamQuery,
    ExecuteBatch,
    Transact,
}

/// The answer by one RPC, without what only tells which RPC it was.
#[derive(Debug, PartialEq)]
enum Answer {
    Result {
        has_columns: bool,
        columns: Vec<Column>,
        rows: Vec<Row>,
        command: String,
        rows_affected: u64,
    },
    Failure {
        code: Code,
        reason: String,
        message: String,
        outcome: String,
        report: Box<DatabaseError>,
        violations: Vec<(String, String)>,
        comes_again: Option<Duration>,
    },
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        let Failure { code, message, reason, outcome, mut report, violations, retry_after } =
            failure;
        // A batch of one names its one statement.
        assert!(matches!(report.failed_statement, None | Some(0)), "{report:?}");
        report.failed_statement = None;
        if report.sqlstate.is_empty() {
            // Ours, not the database's: it names the way that would have been the right one.
            report.hint.clear();
        }
        let bare = |field: &str| {
            let bare = field.strip_prefix("statements[0].").or(field.strip_prefix("query."));
            bare.unwrap_or(field).to_owned()
        };
        Self::Failure {
            code,
            reason,
            // One result is too large, or the results of a batch are.
            message: bare(&message)
                .replace("results have", "result has")
                .replace("results are", "result is")
                // On a busy machine a cancel takes longer than its caller is let wait for it.
                .replace(
                    "passed while database \"main\" was working",
                    "passed; the statement was cancelled",
                ),
            outcome,
            report: Box::new(report),
            violations: violations.into_iter().map(|(field, why)| (bare(&field), why)).collect(),
            comes_again: retry_after,
        }
    }
}

impl Way {
    const ALL: [Self; 4] = [Self::Query, Self::StreamQuery, Self::ExecuteBatch, Self::Transact];

    async fn run(self, client: &Client, case: &Case) -> Answer {
        let answer = match self {
            Self::Query => query(client, case).await,
            Self::StreamQuery => stream(client, case).await,
            Self::ExecuteBatch => batch(client, case).await,
            Self::Transact => transact(client, case).await,
        };
        answer.unwrap_or_else(Answer::from)
    }
}

fn request(case: &Case) -> QueryRequest {
    QueryRequest {
        database: case.database.to_owned(),
        sql: case.sql.to_owned(),
        parameters: case.parameters.clone(),
        options: Some(QueryOptions {
            access_mode: case.access_mode.into(),
            ..case.options.clone()
        }),
    }
}

async fn query(client: &Client, case: &Case) -> Result<Answer, Failure> {
    let result = client.run(request(case)).await?;
    Ok(Answer::Result {
        has_columns: result.has_columns,
        columns: result.columns,
        rows: result.rows,
        command: result.command,
        rows_affected: result.rows_affected,
    })
}

async fn stream(client: &Client, case: &Case) -> Result<Answer, Failure> {
    let streamed = client.stream(request(case)).await?;
    let summary = streamed.summary.expect("a stream that ended well has one");
    assert_eq!(usize::try_from(summary.row_count), Ok(streamed.rows.len()));
    Ok(Answer::Result {
        has_columns: streamed.header.has_columns,
        columns: streamed.header.columns,
        rows: streamed.rows,
        command: summary.command,
        rows_affected: summary.rows_affected,
    })
}

fn transaction(case: &Case) -> TransactionOptions {
    TransactionOptions { access_mode: case.access_mode.into(), ..TransactionOptions::default() }
}

async fn batch(client: &Client, case: &Case) -> Result<Answer, Failure> {
    let request = ExecuteBatchRequest {
        database: case.database.to_owned(),
        statements: vec![statement(case.sql, &case.parameters)],
        transaction: Some(transaction(case)),
        options: Some(case.options.clone()),
        ..ExecuteBatchRequest::default()
    };
    let mut results = client.batch(request).await?.results;
    assert_eq!(results.len(), 1);
    let result = results.remove(0);
    Ok(Answer::Result {
        has_columns: result.has_columns,
        columns: result.columns,
        rows: result.rows,
        command: result.command,
        rows_affected: result.rows_affected,
    })
}

async fn transact(client: &Client, case: &Case) -> Result<Answer, Failure> {
    let mut talk = client.transact().await;
    let begin = Begin {
        database: case.database.to_owned(),
        transaction: Some(transaction(case)),
        ..Begin::default()
    };
    talk.send(Command::Begin(begin)).await;
    let reply = talk.reply().await?;
    assert!(matches!(reply, Some(Reply::Begun(_))), "{reply:?}");
    let query = TransactQuery {
        sql: case.sql.to_owned(),
        parameters: case.parameters.clone(),
        options: Some(case.options.clone()),
    };
    talk.send(Command::Query(query)).await;
    let result = match talk.result().await {
        Ok(result) => result,
        Err(failure) => {
            nothing_commits(talk).await;
            return Err(failure);
        }
    };
    talk.commit().await?;
    Ok(Answer::Result {
        has_columns: result.has_columns,
        columns: result.columns,
        rows: result.rows,
        command: result.command,
        rows_affected: result.rows_affected,
    })
}

/// A commit after a statement that failed is an error, unless the stream has ended with it.
async fn nothing_commits(mut talk: Transaction) {
    talk.send(Command::Commit(Default::default())).await;
    match talk.reply().await {
        Ok(None) => {}
        Ok(Some(reply)) => panic!("answered {reply:?} after a failure"),
        Err(failure) => {
            let wanted = (Code::FailedPrecondition, "TRANSACTION_ABORTED");
            assert_eq!(failure.what(), wanted, "{failure:?}");
            assert_eq!(failure.outcome, "NOT_APPLIED");
        }
    }
}

/// The database below the server: it lives as long as this.
enum Database {
    Sqlite,
    Postgres(Postgres),
    Mariadb(Mariadb),
}

impl Database {
    fn start(backend: Backend) -> Self {
        match backend {
            Backend::Sqlite => Self::Sqlite,
            Backend::Postgres => Self::Postgres(Postgres::start()),
            Backend::Mariadb => Self::Mariadb(Mariadb::start()),
        }
    }

    /// The URL of somebody who may not do everything.
    fn url(&self) -> String {
        match self {
            Self::Sqlite => "sqlite:test.db".to_owned(),
            Self::Postgres(postgres) => {
                postgres.psql(MORE);
                postgres.url_as("app", "secret")
            }
            Self::Mariadb(mariadb) => mariadb.url(),
        }
    }

    /// Removes the index that a case has made.
    async fn drop_index(&self, client: &Client) {
        match self {
            Self::Sqlite | Self::Postgres(_) => {
                client.must("drop index if exists made_index", &[]).await;
            }
            // No case makes one there.
            Self::Mariadb(_) => {}
        }
    }
}

async fn conforms(backend: Backend, settings: &str) {
    let database = Database::start(backend);
    let url = database.url();
    let server = Server::start(&format!("[databases.main]\nurl = \"{url}\"\n{settings}\n"));
    let client = Client::connect(server.grpc()).await;
    for sql in TABLES {
        client.must(sql, &[]).await;
    }
    let cases = cases(backend);
    assert!(cases.len() >= ENOUGH, "{} cases", cases.len());
    let mut differences = Vec::new();
    for case in &cases {
        let mut first = None;
        for way in Way::ALL {
            database.drop_index(&client).await;
            for sql in STATE {
                client.must(sql, &[]).await;
            }
            let answer = way.run(&client, case).await;
            let left = client.must("select * from t order by id", &[]).await.rows;
            let Some((wanted, wanted_left)) = &first else {
                case.check(&answer);
                first = Some((answer, left));
                continue;
            };
            if answer != *wanted {
                let name = case.name;
                differences
                    .push(format!("{name}: {way:?} says\n  {answer:?}\nQuery\n  {wanted:?}"));
            }
            if left != *wanted_left {
                differences.push(format!("{}: {way:?} leaves {left:?}", case.name));
            }
        }
    }
    let differ = differences.join("\n");
    assert!(differences.is_empty(), "{} differences:\n{differ}", differences.len());
    eprintln!("{} cases, each the same by {} ways", cases.len(), Way::ALL.len());
}

#[tokio::test]
async fn each_case_is_the_same_by_every_way_on_sqlite() {
    conforms(Backend::Sqlite, "").await;
}

#[tokio::test]
async fn each_case_is_the_same_by_every_way_on_postgres() {
    conforms(Backend::Postgres, "").await;
}

#[tokio::test]
async fn each_case_is_the_same_by_every_way_on_mariadb() {
    conforms(Backend::Mariadb, "").await;
}

#[tokio::test]
async fn each_case_is_the_same_where_no_statement_stays_prepared() {
    conforms(Backend::Postgres, "statement_cache = 1\n[databases.main.pool]\nmax = 1").await;
}
