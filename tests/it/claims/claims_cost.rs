//! The cost of claims, measured: printed by `cargo nextest run claims_cost --no-capture`.

use std::time::Instant;

use super::Database;
use crate::harness::client::Client;

const CALLS: u32 = 300;

/// The mean time of a call.
async fn mean(client: &Client, sql: &str) -> u128 {
    client.must(sql, &[]).await;
    let start = Instant::now();
    for _ in 0..CALLS {
        client.must(sql, &[]).await;
    }
    (start.elapsed() / CALLS).as_micros()
}

#[tokio::test]
async fn a_call_with_claims_costs_less_than_a_second_round_trip_of_its_own() {
    let database = Database::new(&[]);
    let running = database.serve("pool.lanes = 0").await;
    let client = database.client(&running, "acme");
    let with_claims = mean(&client, "select 1").await;
    let with_policy = mean(&client, "select count(*) from orders").await;
    let other = database.configuration("pool.lanes = 0", "app");
    let plain = other
        .lines()
        .filter(|line| !line.starts_with("claims."))
        .map(|line| line.find("claims.").map_or(line, |_| "").to_owned() + "\n");
    let running = super::Running::start(&plain.collect::<String>()).await;
    let client = database.client(&running, "acme");
    let without = mean(&client, "select 1").await;
    println!("a call: {without} µs, with claims {with_claims} µs, with a policy {with_policy} µs");
    assert!(with_claims < 10 * without + 5000, "{with_claims} µs, without claims {without} µs");
}
