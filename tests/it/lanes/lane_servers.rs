//! Lanes of servers that change their role, or take no more connections.

use rowgate::value::Value;
use rowgate::value::proto::ListPoolStatsRequest;
use rowgate::value::proto::PoolStats;
use rowgate::value::proto::pool_service_client::PoolServiceClient;

use super::{POINT, SETUP};
use crate::failover::{set_read_only, url};
use crate::harness::client::{Client, PATIENCE};
use crate::harness::postgres::Postgres;
use crate::harness::server::Server;
use crate::harness::wait::eventually_async;

async fn stats(client: &Client) -> PoolStats {
    let mut pools = PoolServiceClient::new(client.channel());
    let answer = pools.list_pool_stats(ListPoolStatsRequest::default()).await;
    answer.expect("it runs").into_inner().pools.remove(0)
}

/// The server's name in an answer that has come on a lane.
async fn answered_by(client: &Client) -> Value {
    eventually_async("it runs on a lane", PATIENCE, async || {
        let before = stats(client).await.lane_statements;
        let mut answer = client.must(POINT, &[Value::int64(0)]).await;
        let shared = stats(client).await.lane_statements > before;
        shared.then(|| answer.rows.remove(0).values.remove(0))
    })
    .await
}

fn named(postgres: &Postgres, name: &str) {
    postgres.psql(SETUP);
    postgres.psql(&format!("insert into items values (0, '{name}')"));
}

#[tokio::test]
async fn lanes_leave_a_primary_that_is_demoted_but_up() {
    let (one, other) = (Postgres::start(), Postgres::start());
    named(&one, "one");
    named(&other, "other");
    set_read_only(&other, true);
    let settings = "[health]\ninterval = \"100ms\"";
    let both = url(&[&one, &other]);
    let server = Server::start(&format!("[databases.main]\nurl = \"{both}\"\n{settings}\n"));
    let client = Client::connect(server.grpc()).await;
    assert_eq!(answered_by(&client).await, Value::text("one"));
    set_read_only(&other, false);
    set_read_only(&one, true);
    // The lane's session is read-only itself: it cannot tell, and must leave with the pool's.
    eventually_async("the other answers", PATIENCE, async || {
        let answer = client.must(POINT, &[Value::int64(0)]).await;
        (answer.rows[0].values == [Value::text("other")]).then_some(())
    })
    .await;
    for _ in 0..50 {
        assert_eq!(answered_by(&client).await, Value::text("other"));
    }
    eventually_async("nobody stays", PATIENCE, async || (one.clients() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_lane_of_a_standby_that_becomes_the_primary_is_opened_anew() {
    let primary = Postgres::start();
    primary.admit_standbys();
    named(&primary, "all");
    let standby = Postgres::standby_of(&primary);
    if standby.major() < 14 {
        // It does not tell its role.
        return;
    }
    let alone = url(&[&standby]);
    let server = Server::start(&format!(
        "[databases.main]\nurl = \"{alone}?target_session_attrs=prefer-standby\"\npool.lanes = 1\n"
    ));
    let client = Client::connect(server.grpc()).await;
    answered_by(&client).await;
    standby.promote();
    eventually_async("the lane ends", PATIENCE, async || {
        client.must(POINT, &[Value::int64(0)]).await;
        (stats(&client).await.lanes == 0).then_some(())
    })
    .await;
    answered_by(&client).await;
    client.must("insert into items values (-1, 'written')", &[]).await;
}

#[tokio::test]
async fn a_server_without_room_for_a_lane_serves_the_calls_all_the_same() {
    let postgres = Postgres::start();
    postgres.psql(SETUP);
    postgres.psql(
        "create role narrow login password 'narrow' connection limit 2;
         grant all on all tables in schema public to narrow",
    );
    let url = postgres.url_as("narrow", "narrow");
    // One connection is the pool's, and one probes.
    let settings = "pool.max = 1\npool.min = 1";
    let server = Server::start(&format!("[databases.main]\nurl = \"{url}\"\n{settings}\n"));
    let client = Client::connect(server.grpc()).await;
    for id in 1..=200 {
        let answer = client.must(POINT, &[Value::int64(id)]).await;
        assert_eq!(answer.rows[0].values, [Value::text(format!("item {id}"))]);
    }
    let narrow = stats(&client).await;
    assert_eq!((narrow.lanes, narrow.lane_statements), (0, 0), "{narrow:?}");
    postgres.psql("alter role narrow connection limit 9");
    eventually_async("a lane is opened", PATIENCE, async || {
        client.must(POINT, &[Value::int64(1)]).await;
        (stats(&client).await.lanes > 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn workers_that_open_lanes_at_once_open_no_more_than_allowed() {
    let postgres = Postgres::start();
    postgres.psql(SETUP);
    let url = postgres.url();
    let server = Server::start(&format!(
        "[grpc]\nworkers = 4\n[databases.main]\nurl = \"{url}\"\npool.lanes = 1\n"
    ));
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(Client::connect(server.grpc()).await);
    }
    let calls = clients.iter().map(|client| async {
        for id in 1..=100 {
            client.must(POINT, &[Value::int64(id)]).await;
        }
    });
    futures_util::future::join_all(calls).await;
    eventually_async("a lane is opened", PATIENCE, async || {
        clients[0].must(POINT, &[Value::int64(1)]).await;
        (stats(&clients[0]).await.lanes > 0).then_some(())
    })
    .await;
    assert_eq!(stats(&clients[0]).await.lanes, 1);
}
