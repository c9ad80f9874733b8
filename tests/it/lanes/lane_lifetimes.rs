//! The lifetime of lanes: as that of the pool's connections.

use std::time::Duration;

use rowgate::value::Value;
use rowgate::value::proto::pool_service_client::PoolServiceClient;
use rowgate::value::proto::{
    ListPoolStatsRequest, PausePoolRequest, QueryOptions, QueryRequest, ReconnectPoolRequest,
    ResumePoolRequest,
};

use super::{POINT, SETUP, on_lane, service};
use crate::harness::client::{Client, PATIENCE, request};
use crate::harness::pgbouncer::PgBouncer;
use crate::harness::postgres::Postgres;
use crate::harness::server::Server;
use crate::harness::wait::eventually_async;

#[tokio::test]
async fn a_paused_pool_pauses_the_lanes_too() {
    let service = service("").await;
    on_lane(&service, POINT, &[Value::int64(1)]).await;
    let pool = "main".to_owned();
    let pausing = PausePoolRequest { pool: pool.clone(), ..PausePoolRequest::default() };
    service.pools().pause_pool(pausing).await.expect("it pauses");
    // By the option, as the client's own timer may be the first at a deadline that it sends.
    let timeout = Some(prost_types::Duration { seconds: 0, nanos: 300_000_000 });
    let options = Some(QueryOptions { timeout, ..QueryOptions::default() });
    let request = QueryRequest { options, ..request(POINT, &[Value::int64(1)]) };
    let refused = service.client.run(request).await.expect_err("nothing runs");
    assert!(refused.message.contains("paused"), "{refused:?}");
    service.until_pool("its lanes are closed", |pool| pool.lanes == 0).await;
    let resuming = ResumePoolRequest { pool };
    service.pools().resume_pool(resuming).await.expect("it goes on");
    on_lane(&service, POINT, &[Value::int64(1)]).await;
}

#[tokio::test]
async fn without_lanes_every_call_has_a_session_of_its_own() {
    let service = service("pool.lanes = 0").await;
    for _ in 0..20 {
        service.client.must(POINT, &[Value::int64(1)]).await;
    }
    let stats = service.pool().await;
    assert_eq!((stats.lanes, stats.lane_statements), (0, 0));
}

#[tokio::test]
async fn lanes_end_with_the_age_and_the_generation_of_the_pool() {
    let service = service("pool.max_lifetime = \"1s\"").await;
    on_lane(&service, POINT, &[Value::int64(1)]).await;
    eventually_async("another lane is opened", PATIENCE, async || {
        let before = service.pool().await.lanes;
        service.client.must(POINT, &[Value::int64(1)]).await;
        (before == 0).then_some(())
    })
    .await;
    on_lane(&service, POINT, &[Value::int64(1)]).await;
    let pool = "main".to_owned();
    let request = ReconnectPoolRequest { pool };
    service.pools().reconnect_pool(request).await.expect("it reconnects");
    service.until_pool("its lanes are closed", |pool| pool.lanes == 0).await;
}

#[tokio::test]
async fn a_server_with_lanes_stops_at_once() {
    let mut service = service("").await;
    on_lane(&service, POINT, &[Value::int64(1)]).await;
    service.server.signal("TERM");
    assert!(service.server.exit(Duration::from_secs(20)).await.success());
    let sessions = "select count(*) from pg_stat_activity where backend_type = 'client backend' \
        and pid <> pg_backend_pid()";
    eventually_async("its sessions are gone", PATIENCE, async || {
        (service.postgres().psql(sessions).trim() == "0").then_some(())
    })
    .await;
}

#[tokio::test]
async fn behind_a_pooler_nothing_shares() {
    let postgres = Postgres::start();
    postgres.psql(SETUP);
    let pooled = "pool_mode = transaction\ndefault_pool_size = 4";
    let Some(pooler) = PgBouncer::start(&postgres, pooled) else { return };
    let server =
        Server::start(&format!("[databases.main]\nurl = \"{}\"\n", pooler.url("postgres")));
    let client = Client::connect(server.grpc()).await;
    for _ in 0..20 {
        client.must(POINT, &[Value::int64(1)]).await;
    }
    let mut pools = PoolServiceClient::new(client.channel());
    let answer = pools.list_pool_stats(ListPoolStatsRequest::default()).await;
    let stats = answer.expect("it runs").into_inner().pools.remove(0);
    assert_eq!((stats.lanes, stats.lane_statements), (0, 0), "{stats:?}");
}
