//! Writes to SQLite that share a commit, when the process is killed.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rowgate::value::Kind;
use rowgate::value::proto::{BatchStatement, ExecuteBatchRequest, Row, Value};
use tonic::{Code, Status};

use crate::harness::client::{Client, PATIENCE, request};
use crate::harness::server::Server;
use crate::harness::wait::eventually_async;

const CALLERS: i64 = 32;

/// The calls that are answered before the process is killed.
const ANSWERS: usize = 1500;

/// The answers to one caller.
#[derive(Default)]
struct Seen {
    written: BTreeSet<i64>,
    refused: BTreeSet<i64>,
}

fn serve(file: &Path) -> Server {
    Server::start(&format!("[databases.main]\nurl = \"sqlite:{}\"\n", file.display()))
}

/// Writes a number: every fifth in a batch, and every seventh beside a row that is there already.
async fn write(client: &Client, id: i64) -> Result<(), Status> {
    let insert = |id: i64| BatchStatement {
        sql: "insert into t values ($1)".to_owned(),
        parameters: vec![Value::int64(id)],
        expect: None,
    };
    let statements = match (id % 7, id % 5) {
        (0, _) => vec![insert(id), insert(0)],
        (_, 0) => vec![insert(id)],
        _ => {
            let values = [Value::int64(id)];
            let insert = request("insert into t values ($1)", &values);
            return client.raw().query(insert).await.map(drop);
        }
    };
    let request = ExecuteBatchRequest { statements, ..Default::default() };
    client.raw().execute_batch(request).await.map(drop)
}

/// Writes one number after the other until the connection is lost.
async fn write_on(client: Client, caller: i64, answers: Arc<AtomicUsize>) -> Seen {
    let mut seen = Seen::default();
    for id in caller * 1_000_000 + 1.. {
        match write(&client, id).await {
            Ok(()) => seen.written.insert(id),
            Err(failure) if failure.code() == Code::AlreadyExists => seen.refused.insert(id),
            // The process is gone.
            Err(_lost) => break,
        };
        answers.fetch_add(1, Relaxed);
    }
    seen
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_kill_and_what_was_refused_is_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("killed.db");
    let mut server = serve(&file);
    let client = Client::connect(server.grpc()).await;
    client.must("create table t (id integer primary key)", &[]).await;
    client.must("insert into t values (0)", &[]).await;
    let answers = Arc::<AtomicUsize>::default();
    let mut callers = Vec::new();
    for caller in 1..=CALLERS {
        let client = Client::connect(server.grpc()).await;
        callers.push(tokio::spawn(write_on(client, caller, Arc::clone(&answers))));
    }
    eventually_async("writes are answered", PATIENCE, async || {
        (answers.load(Relaxed) >= ANSWERS).then_some(())
    })
    .await;
    server.signal("KILL");
    server.exit(PATIENCE).await;
    let mut seen = Seen::default();
    for caller in callers {
        let answered = caller.await.expect("no caller panics");
        seen.written.extend(answered.written);
        seen.refused.extend(answered.refused);
    }
    let server = serve(&file);
    let client = Client::connect(server.grpc()).await;
    let rows = client.stream(request("select id from t where id > 0", &[])).await;
    let rows = rows.expect("it runs").rows;
    let id = |row: &Row| match row.values[0].kind {
        Some(Kind::Int64Value(id)) => id,
        ref other => panic!("{other:?}"),
    };
    let there: BTreeSet<i64> = rows.iter().map(id).collect();
    let lost: Vec<_> = seen.written.difference(&there).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let applied: Vec<_> = seen.refused.intersection(&there).collect();
    assert!(applied.is_empty(), "refused and applied: {applied:?}");
    // No more than one call of each caller was on its way.
    let unknown = there.difference(&seen.written).count();
    assert!(unknown <= usize::try_from(CALLERS).expect("it is small"), "{unknown} are not known");
    assert!(!seen.refused.is_empty() && seen.written.len() > ANSWERS / 2);
}
