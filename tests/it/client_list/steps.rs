//! The steps of a case, each as one call or one command of a transaction.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rowgate::value::proto::get_transaction_outcome_request::Handle;
use rowgate::value::proto::stream_query_response::Part;
use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::transact_response::Reply;
use rowgate::value::proto::{
    Begin, Column, DescribeStatementRequest, ExecuteBatchResponse, GetTransactionOutcomeRequest,
    QueryResponse, Release, ResultSet, RollbackTo, Row, Savepoint, TransactBatch, TransactQuery,
};
use serde_json::{Value as Json, json};

use super::cases::{Case, list, text};
use super::expect::{Answer, compare, described};
use super::requests::{self, as_u64};
use super::values::{parameter, parameters};
use crate::harness::client::{Client, Failure, PATIENCE, with_deadline};
use crate::harness::unit::Transaction;

/// Runs a case; tells the step that went wrong, and why.
pub(super) async fn run(client: &Client, case: &Case) -> Result<(), String> {
    for sql in &case.setup {
        let answer = client.query(sql, &[]).await;
        answer.map_err(|failure| format!("setup: {sql}: {failure:?}"))?;
    }
    let mut runner = Runner { client, transactions: HashMap::new() };
    for (i, step) in case.steps.iter().enumerate() {
        let start = Instant::now();
        for _ in 0..step.get("times").map_or(1, as_u64) {
            runner.step(step).await.map_err(|why| format!("step {i}: {why}"))?;
        }
        let took = start.elapsed();
        let most = step.get("within_ms").map_or(PATIENCE, milliseconds);
        if took > most {
            return Err(format!("step {i}: it took {took:?}"));
        }
    }
    Ok(())
}

fn result_of(columns: Vec<Column>, rows: Vec<Row>) -> ResultSet {
    let mut result = ResultSet::default();
    result.columns = columns;
    result.rows = rows;
    result
}

fn milliseconds(json: &Json) -> Duration {
    Duration::from_millis(as_u64(json))
}

struct Runner<'a> {
    client: &'a Client,
    transactions: HashMap<String, Transaction>,
}

impl Runner<'_> {
    async fn step(&mut self, step: &Json) -> Result<(), String> {
        let answer = match step["do"].as_str().unwrap_or_default() {
            "query" if step.get("in").is_some() => self.query_in(step).await,
            "query" => self.query(step).await,
            "stream" => self.stream(step).await,
            "batch" if step.get("in").is_some() => self.batch_in(step).await,
            "batch" => self.batch(step).await,
            "begin" => self.begin(step).await,
            "savepoint" | "rollback_to" | "release" => self.command(step).await,
            "commit" => self.take(step).commit().await.map(|()| Answer::default()),
            "rollback" => self.take(step).rollback().await.map(|()| Answer::default()),
            "close" => self.close(step).await,
            "outcome" => self.outcome(step).await,
            "describe" => self.describe(step).await,
            "copy_in" => self.copy_in(step).await,
            "copy_out" => self.copy_out(step).await,
            "abandon" => {
                drop(self.take(step));
                return Ok(());
            }
            "echo" => return self.echo(step).await,
            "cancel" => return self.cancel(step).await,
            "pause" => {
                tokio::time::sleep(milliseconds(&step["ms"])).await;
                return Ok(());
            }
            unknown => return Err(format!("an unknown step: {unknown}")),
        };
        compare(step.get("expect").unwrap_or(&json!({})), &answer)
    }

    fn transaction(&mut self, step: &Json) -> &mut Transaction {
        self.transactions.get_mut(&text(&step["in"])).expect("it was begun")
    }

    fn take(&mut self, step: &Json) -> Transaction {
        self.transactions.remove(&text(&step["in"])).expect("it was begun")
    }

    async fn query(&self, step: &Json) -> Result<Answer, Failure> {
        let deadline = requests::deadline(&step["options"]);
        let QueryResponse { result, replayed, .. } =
            self.client.call(requests::query(step), deadline).await?;
        let result = result.expect("a response has a result");
        Ok(Answer { result, others: vec![("replayed", json!(replayed))], ..Answer::default() })
    }

    async fn query_in(&mut self, step: &Json) -> Result<Answer, Failure> {
        let query = TransactQuery {
            sql: text(&step["sql"]),
            parameters: parameters(&step["parameters"]),
            options: requests::options(&step["options"]),
        };
        let transaction = self.transaction(step);
        transaction.send(Command::Query(query)).await;
        Ok(transaction.result().await?.into())
    }

    async fn stream(&self, step: &Json) -> Result<Answer, Failure> {
        let deadline = requests::deadline(&step["options"]);
        let mut parts = self.client.open_within(requests::query(step), deadline).await?;
        let header = parts.header().await?;
        let mut result = result_of(header.columns, Vec::new());
        let most = step.get("read").map_or(u64::MAX, as_u64);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut is_complete = false;
        while let Some(part) = parts.next().await? {
            match part {
                Part::Rows(batch) => result.rows.extend(batch.rows),
                Part::Summary(summary) => {
                    assert_eq!(summary.row_count, result.rows.len() as u64);
                    result.rows_affected = summary.rows_affected;
                    result.command = summary.command;
                    is_complete = true;
                }
                Part::Header(_) | Part::Arrow(_) | Part::Json(_) => panic!("none was expected"),
            }
            if result.rows.len() >= most {
                result.rows.truncate(most);
                return Ok(result.into());
            }
        }
        assert!(is_complete, "a stream that ended well has a summary");
        Ok(result.into())
    }

    async fn batch(&self, step: &Json) -> Result<Answer, Failure> {
        let deadline = requests::deadline(&step["options"]);
        let request = with_deadline(requests::batch(step), deadline);
        let answer = self.client.raw().execute_batch(request).await?;
        let ExecuteBatchResponse { results, replayed, .. } = answer.into_inner();
        Ok(Answer { results, others: vec![("replayed", json!(replayed))], ..Answer::default() })
    }

    async fn batch_in(&mut self, step: &Json) -> Result<Answer, Failure> {
        let statements = requests::statements(step);
        let batch = TransactBatch { statements, options: requests::options(&step["options"]) };
        let transaction = self.transaction(step);
        transaction.send(Command::Batch(batch)).await;
        Ok(Answer { results: transaction.batch_results().await?, ..Answer::default() })
    }

    async fn begin(&mut self, step: &Json) -> Result<Answer, Failure> {
        let begin = Begin {
            database: text(&step["database"]),
            transaction: requests::transaction(&step["transaction"]),
            idempotency_key: text(&step["key"]),
            tag: text(&step["tag"]),
            settings: requests::settings(&step["settings"]),
        };
        let mut transaction = self.client.transact().await;
        transaction.send(Command::Begin(begin)).await;
        assert!(matches!(transaction.reply().await?, Some(Reply::Begun(_))));
        self.transactions.insert(text(&step["as"]), transaction);
        Ok(Answer::default())
    }

    async fn command(&mut self, step: &Json) -> Result<Answer, Failure> {
        let name = text(&step["name"]);
        let command = match step["do"].as_str() {
            Some("savepoint") => Command::Savepoint(Savepoint { name }),
            Some("rollback_to") => Command::RollbackTo(RollbackTo { name }),
            _ => Command::Release(Release { name }),
        };
        self.transaction(step).done(command).await?;
        Ok(Answer::default())
    }

    async fn close(&mut self, step: &Json) -> Result<Answer, Failure> {
        let mut transaction = self.take(step);
        transaction.half_close();
        transaction.end().await?;
        Ok(Answer::default())
    }

    async fn outcome(&self, step: &Json) -> Result<Answer, Failure> {
        let handle = Some(Handle::IdempotencyKey(text(&step["key"])));
        let database = text(&step["database"]);
        let request = GetTransactionOutcomeRequest { database, handle };
        let answer = self.client.raw().get_transaction_outcome(request).await?;
        let state = answer.get_ref().state().as_str_name().replace("TRANSACTION_STATE_", "");
        Ok(Answer { others: vec![("state", json!(state))], ..Answer::default() })
    }

    async fn describe(&self, step: &Json) -> Result<Answer, Failure> {
        let sql = text(&step["sql"]);
        let request = DescribeStatementRequest { sql, ..Default::default() };
        let answer = self.client.raw().describe_statement(request).await?.into_inner();
        // Only what the list names of a parameter is compared: as of a column.
        let wanted = list(&step["expect"]["parameter_types"]);
        let types = answer.parameter_types.iter().zip(wanted).map(|(found, wanted)| {
            let column = Column {
                r#type: found.r#type,
                element_type: found.element_type,
                type_name: found.type_name.clone(),
                ..Column::default()
            };
            let found = described(&column);
            let named = wanted.as_object().into_iter().flatten();
            named.map(|(name, _)| (name.clone(), found[name].clone())).collect::<Json>()
        });
        let types: Json = types.collect();
        let result = result_of(answer.columns, Vec::new());
        let others = vec![("parameter_types", types), ("read_only", json!(answer.read_only))];
        Ok(Answer { result, others, ..Answer::default() })
    }

    async fn copy_in(&self, step: &Json) -> Result<Answer, Failure> {
        let start = requests::copy_in(step);
        let answer = match step.get("data") {
            Some(data) => self.client.copy_text(start, &text(data), 5).await?,
            None => self.client.copy_rows(start, vec![requests::rows(&step["rows"])]).await?,
        };
        let mut result = ResultSet::default();
        result.rows_affected = answer.rows_affected;
        let others = vec![("replayed", json!(answer.replayed))];
        Ok(Answer { result, others, ..Answer::default() })
    }

    async fn copy_out(&self, step: &Json) -> Result<Answer, Failure> {
        let out = self.client.copy_out(requests::copy_out(step)).await?;
        if !out.rows.is_empty() {
            assert_eq!(out.row_count, out.rows.len() as u64);
        }
        let others = vec![("data", json!(out.text())), ("row_count", json!(out.row_count))];
        let result = result_of(out.columns, out.rows);
        Ok(Answer { result, others, ..Answer::default() })
    }

    async fn echo(&self, step: &Json) -> Result<(), String> {
        for value in list(&step["values"]) {
            let answer = self.client.query(&text(&step["sql"]), &[parameter(&value)]).await;
            let mut expect = json!({"rows": [[value]]});
            if let Some(wanted) = step.get("type") {
                expect["columns"] = json!([{"type": wanted}]);
            }
            let compared = compare(&expect, &answer.map(Answer::from));
            compared.map_err(|why| format!("{value}: {why}"))?;
        }
        Ok(())
    }

    async fn cancel(&self, step: &Json) -> Result<(), String> {
        let call = self.client.run(requests::query(step));
        match tokio::time::timeout(milliseconds(&step["after_ms"]), call).await {
            Err(_elapsed) => Ok(()),
            Ok(answer) => Err(format!("it ended by itself: {answer:?}")),
        }
    }
}
