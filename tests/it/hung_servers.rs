//! Database servers that stop answering, as on a machine that is suspended: callers are answered at their deadline.

use std::time::Duration;

use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::{CopyInStart, ExecuteBatchRequest, QueryOptions, TransactQuery};

use crate::harness::copies::csv_into;
use crate::harness::process::Stopped;
use crate::harness::unit::{batch, query};
use crate::harness::wait::Stopwatch;
use crate::harness::{Backend, Service};

const TIMEOUT: Duration = Duration::from_millis(500);
/// Beyond the timeout, for the answer.
const LATE: Duration = Duration::from_millis(250);

/// Stops the processes that serve the pool's connections.
fn stop(service: &Service, backend: Backend) -> Vec<Stopped> {
    if backend == Backend::Mariadb {
        return vec![Stopped::new(&service.mariadb().pid())];
    }
    let pids = service.postgres().psql(
        "select pid from pg_stat_activity \
         where backend_type = 'client backend' and pid <> pg_backend_pid()",
    );
    pids.lines().map(Stopped::new).collect()
}

fn number(service: &Service, backend: Backend) -> String {
    let sql = "select n from t where id = 1";
    if backend == Backend::Mariadb {
        service.mariadb().sql(sql)
    } else {
        service.postgres().psql(sql)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_a_server_that_hangs_are_answered_at_their_deadline() {
    for backend in [Backend::Postgres, Backend::Mariadb] {
        let service = Service::start(backend).await;
        let client = &service.client;
        client.must("create table t (id int primary key, n int not null)", &[]).await;
        client.must("insert into t values (1, 0)", &[]).await;
        let timeout = Some(prost_types::Duration::try_from(TIMEOUT).expect("it is short"));
        let plain = Some(QueryOptions { timeout, ..QueryOptions::default() });
        let write = "update t set n = n + 1 where id = 1";
        for case in ["batch", "keyed batch", "copy", "statement of a transaction"] {
            // Connections, prepared statements, and what is known of the table.
            client.batch(batch(&[write, write])).await.expect("it runs");
            let mut transaction = client.begin().await;
            transaction.query("select 1", &[]).await.expect("it is open");
            let before = number(&service, backend);
            let stopped = stop(&service, backend);
            let clock = Stopwatch::start();
            let cut = match case {
                "copy" => {
                    let start = CopyInStart { options: plain.clone(), ..csv_into("t") };
                    client.copy_text(start, "3,0\n", 100).await.map(drop)
                }
                "statement of a transaction" => {
                    let query = TransactQuery { options: plain.clone(), ..query(write, &[]) };
                    transaction.send(Command::Query(query)).await;
                    transaction.result().await.map(drop)
                }
                _ => {
                    let mut options = plain.clone().unwrap_or_default();
                    if case == "keyed batch" {
                        case.clone_into(&mut options.idempotency_key);
                    }
                    let options = Some(options);
                    let request = ExecuteBatchRequest { options, ..batch(&[write, write]) };
                    client.batch(request).await.map(drop)
                }
            };
            let cut = cut.expect_err("nothing answers");
            clock.assert_within(TIMEOUT + LATE, &format!("{backend:?}: {case}"));
            assert_eq!(
                (&*cut.reason, &*cut.outcome),
                ("DEADLINE", "NOT_APPLIED"),
                "{backend:?}: {case}: {cut:?}"
            );
            drop((stopped, transaction));
            assert_eq!(number(&service, backend), before, "{backend:?}: {case}");
        }
    }
}
