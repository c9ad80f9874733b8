//! Connections that ended while they were idle: killed, or closed by the server after its `wait_timeout`.

use super::{WAYS, increment, must_be_true, number, on, service, told};
use crate::harness::client::PATIENCE;
use crate::harness::mariadb::{Mariadb, ROLE};
use crate::harness::wait::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_caller_notices_that_idle_connections_were_killed() {
    let service = service("").await;
    for way in WAYS {
        for round in 0..5 {
            let before = number(service.mariadb());
            service.client.must("select 1", &[]).await;
            assert!(service.mariadb().kill_connections() > 0, "{way:?}, round {round}");
            let answer = increment(&service.client, way).await;
            let case = format!("{way:?}, round {round}: {}", told(&answer));
            must_be_true(&answer, before, number(service.mariadb()), &case);
            assert!(answer.is_ok(), "{case}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_caller_notices_that_the_server_closes_idle_connections() {
    let service = on(Mariadb::with(&["wait-timeout=1"]), "[databases.main.pool]\nmin = 0").await;
    for way in WAYS {
        let before = number(service.mariadb());
        service.client.must("select 1", &[]).await;
        let connected =
            format!("select count(*) from information_schema.processlist where user = '{ROLE}'");
        tokio::task::block_in_place(|| {
            eventually("they are closed", PATIENCE, || {
                (service.mariadb().sql(&connected) == "0").then_some(())
            });
        });
        let answer = increment(&service.client, way).await;
        let case = format!("{way:?}: {}", told(&answer));
        must_be_true(&answer, before, number(service.mariadb()), &case);
        assert!(answer.is_ok(), "{case}");
    }
}
