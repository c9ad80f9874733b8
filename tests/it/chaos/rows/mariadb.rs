//! The things that MariaDB does to connections of its own accord.

use rowgate::value::proto::{PoolStats, Value};

use super::Held;
use crate::harness::Service;
use crate::harness::client::PATIENCE;
use crate::harness::mariadb::Mariadb;
use crate::harness::wait::eventually_async;

/// Of the pools whose connections lie there too long.
const IDLE: u32 = 4;

/// Idle connections that the server closes, all of a pool within a second; a write is sent right behind.
pub(super) async fn timed_out(faults: usize) -> Held {
    let mariadb = Mariadb::with(&["wait-timeout=1"]);
    let settings = format!("pool.min = {IDLE}\npool.max = {IDLE}\n[health]\ninterval = \"1h\"\n");
    let service = Service::on_mariadb(mariadb, &settings, &[]).await;
    service.client.must("create table t (id bigint)", &[]).await;
    let ended = || {
        let status = service.mariadb().sql("show global status like 'Aborted_clients'");
        status.rsplit('\t').next().and_then(|count| count.parse::<usize>().ok())
    };
    let (mut closed, mut written) = (0, 0);
    while closed < faults {
        let is_warm = |pool: &PoolStats| pool.idle == IDLE;
        service.until_pool("it is warm", is_warm).await;
        let before = ended().expect("the server counts");
        let all = before + usize::try_from(IDLE).expect("few");
        let now = eventually_async("idle connections are closed", PATIENCE, async || {
            ended().filter(|ended| *ended >= all)
        });
        closed += now.await - before;
        service.client.must("insert into t values ($1)", &[Value::int64(written)]).await;
        written += 1;
    }
    let rows = service.mariadb().sql("select count(*), count(distinct id) from t");
    assert_eq!(rows, format!("{written}\t{written}"));
    let figures = format!("{written} writes right behind, all applied once");
    Held { faults: closed, figures }
}
