//! Three nodes of Galera that all take writes: the conflicts between them, the death of one, the silence of another.
//!
//! Needs Debian's package galera-4; scripts/verify runs it where that is installed or can be unpacked.

mod writers;

use std::time::{Duration, Instant};

use tonic::Code;

use crate::harness::client::Client;
use crate::harness::galera::Galera;
use crate::harness::server::{self, Server};
use crate::harness::wait::{eventually, eventually_async};
use writers::{COUNTERS, Load, Seen};

/// From a node's death, or its silence, to the next write: Galera waits 5 seconds for a node that is silent.
const LONGEST_GAP: Duration = Duration::from_secs(20);

/// The time in which no caller of ExecuteBatch may see a conflict.
const WITHOUT_CONFLICTS: Duration = Duration::from_secs(30);

const TABLES: &str = "create table units (id bigint primary key, shard int not null, key (shard)); \
                      create table counters (shard int primary key, n bigint not null); \
                      create table hot (id int primary key, n bigint not null);";

/// A cluster with the tables of the load, and a server whose connections lead to all nodes.
async fn service(cluster: &Galera) -> (Server, Client) {
    cluster.nodes[0].sql(TABLES);
    for shard in 0..COUNTERS {
        cluster.nodes[0].sql(&format!("insert into counters values ({shard}, 0)"));
        cluster.nodes[0].sql(&format!("insert into hot values ({shard}, 0)"));
    }
    let url = cluster.url("load_balance_hosts=random");
    let pool = "[databases.main.pool]\nmin = 9\nmax = 24";
    let server = Server::start(&format!(
        "[databases.main]\nurl = \"{url}\"\n{pool}\n[health]\ninterval = \"200ms\"\n"
    ));
    install_keys(&server, cluster);
    let client = Client::connect(server.grpc()).await;
    (server, client)
}

fn install_keys(server: &Server, cluster: &Galera) {
    let install = ["idempotency", "install", "--database-url", &cluster.nodes[0].url()];
    let installed = server::run(server.directory(), &install, &[]);
    assert!(installed.status.success(), "{installed:?}");
}

/// Compares what the callers were told with what is on every node.
fn check(cluster: &Galera, seen: &Seen) {
    let rows = "select id from units order by id";
    let all = cluster.nodes[0].sql(&format!("set session wsrep_sync_wait=1; {rows}"));
    for node in &cluster.nodes {
        assert_eq!(node.sql(&format!("set session wsrep_sync_wait=1; {rows}")), all);
        let wrong = "select c.shard, c.n, count(u.id) from counters c left join units u using (shard) \
                     group by c.shard, c.n having c.n <> count(u.id)";
        assert_eq!(node.sql(wrong), "", "a unit is applied in part, or twice");
    }
    seen.must_agree_with(&all.lines().map(|line| line.parse().expect("a number")).collect());
    let hot: u64 = cluster.nodes[0].sql("select sum(n) from hot").parse().expect("a number");
    let most = seen.increments + seen.increments_in_doubt;
    assert!((seen.increments..=most).contains(&hot), "{hot} of {} to {most}", seen.increments);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs galera-4, and takes minutes: scripts/verify galera runs it"]
async fn what_callers_are_told_is_true_on_three_nodes_of_which_one_dies_and_one_is_silent() {
    let mut cluster = Galera::start();
    let (_server, client) = service(&cluster).await;
    let mut all = Seen::default();

    let load = Load::start(&client, 16, 0);
    load.until_more("there is load", 500).await;
    load.run_for(WITHOUT_CONFLICTS).await;
    let seen = load.end().await;
    seen.print("three nodes");
    assert!(seen.repeated > 0, "no conflict was repeated");
    assert_eq!(seen.conflicts_of_batches(), 0, "callers of ExecuteBatch see no conflict");
    all.add(seen);

    for (round, what) in [(1, "one is killed"), (2, "one is silent")] {
        let load = Load::start(&client, 16, round);
        load.until_more("there is load", 200).await;
        if round == 1 {
            cluster.crash(1);
        } else {
            cluster.nodes[2].signal("STOP");
        }
        let start = Instant::now();
        load.until_more("writes go on", 200).await;
        eprintln!("{what}: 200 units after {:?}", start.elapsed());
        if round == 1 {
            cluster.rejoin(1);
        } else {
            cluster.await_members(0, 2);
            cluster.nodes[2].signal("CONT");
            cluster.await_members(2, 3);
        }
        load.until_more("writes go on when it is back", 200).await;
        let seen = load.end().await;
        seen.print(what);
        let gap = seen.longest_gap;
        assert!(gap <= LONGEST_GAP, "{what}: no unit was applied for {gap:?}");
        all.add(seen);
    }
    check(&cluster, &all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs galera-4: scripts/verify galera runs it"]
async fn a_conflict_with_another_node_rolls_all_back_whether_a_statement_or_the_commit_meets_it() {
    let cluster = Galera::start();
    cluster.nodes[0].sql(TABLES);
    cluster.nodes[0].sql("insert into counters values (0, 0), (1, 0)");
    let server =
        Server::start(&format!("[databases.main]\nurl = \"{}\"\n", cluster.nodes[0].url()));
    let client = Client::connect(server.grpc()).await;
    // Without the table of keys a commit goes alone, with it beside its mark.
    for has_marks in [false, true] {
        if has_marks {
            install_keys(&server, &cluster);
        }
        for at_commit in [false, true] {
            let mut transaction = client.begin().await;
            for shard in [0, 1] {
                let sql = format!("update counters set n = n + 1 where shard = {shard}");
                transaction.query(&sql, &[]).await.expect("it runs");
            }
            // The other's write is certified first, and the transaction here gives way to it.
            cluster.nodes[1].sql("update counters set n = n + 100 where shard = 1");
            cluster.nodes[0].sql("set session wsrep_sync_wait = 1; select * from hot");
            let failure = if at_commit {
                transaction.commit().await.expect_err("it gave way")
            } else {
                let next = transaction.query("select n from counters", &[]).await;
                let failure = next.expect_err("it gave way");
                let after = transaction.commit().await.expect_err("nothing is left of it");
                assert_eq!(after.outcome, "NOT_APPLIED", "{after:?}");
                failure
            };
            let case = format!("at the commit: {at_commit}, with marks: {has_marks}: {failure:?}");
            assert_eq!(failure.what(), (Code::Aborted, "DEADLOCK_DETECTED"), "{case}");
            assert_eq!(failure.outcome, "NOT_APPLIED", "{case}");
        }
    }
    assert_eq!(cluster.nodes[0].sql("select n from counters order by shard"), "0\n400");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs galera-4: scripts/verify galera runs it"]
async fn a_node_without_a_quorum_takes_no_writes_and_gets_none() {
    let cluster = Galera::start();
    cluster.nodes[0].sql(TABLES);
    let health = "[health]\ninterval = \"100ms\"";
    let only = format!("{}?target_session_attrs=read-write", cluster.nodes[0].url());
    let server = Server::start(&format!("[databases.main]\nurl = \"{only}\"\n{health}\n"));
    let client = Client::connect(server.grpc()).await;
    client.must("insert into hot values (1, 0)", &[]).await;
    for node in [1, 2] {
        cluster.nodes[node].signal("STOP");
    }
    eventually("the node notices", Duration::from_secs(30), || {
        let ready = cluster.nodes[0].sql("show global status like 'wsrep_ready'");
        ready.ends_with("OFF").then_some(())
    });
    eventually("the probe finds it", Duration::from_secs(10), || {
        server.log().contains("takes no writes any more").then_some(())
    });
    for sql in ["insert into hot values (2, 0)", "select n from hot"] {
        let failure = client.must_fail(sql, &[]).await;
        let reasons = ["NOT_PRIMARY", "DATABASE_UNAVAILABLE"];
        assert!(reasons.contains(&&*failure.reason), "{sql}: {failure:?}");
        assert_eq!((failure.code, &*failure.outcome), (Code::Unavailable, "NOT_APPLIED"));
    }
    for node in [1, 2] {
        cluster.nodes[node].signal("CONT");
    }
    eventually_async("it has a quorum again", Duration::from_secs(60), async || {
        client.query("insert into hot values (3, 0)", &[]).await.ok()
    })
    .await;
    assert_eq!(cluster.nodes[0].sql("select id from hot order by id"), "1\n3");
}
