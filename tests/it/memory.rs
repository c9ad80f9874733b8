//! The memory of a server: bounded by size where a database sends much, or callers send many texts.

use tonic::Code;

use crate::harness::postgres::Postgres;
use crate::harness::{Backend, Service};

const MIB: u64 = 1 << 20;

/// Raises an error, or a notice, of three texts of 30 MB.
fn raise(level: &str) -> String {
    format!(
        "do $$begin raise {level} '%', repeat('x', 30000000) using detail = repeat('y', 30000000), \
         hint = repeat('z', 30000000), errcode = '23505'; end$$"
    )
}

#[tokio::test]
async fn a_huge_error_is_told_and_takes_no_memory() {
    let service = Service::with(Backend::Postgres, "pool.min = 1\npool.max = 1\n").await;
    service.client.must("select 1", &[]).await;
    let before = service.server.resident();
    for _ in 0..3 {
        let failure = service.client.query(&raise("exception"), &[]).await.expect_err("it raises");
        assert_eq!(failure.what(), (Code::AlreadyExists, "UNIQUE_VIOLATION"), "{failure:?}");
        assert_eq!(failure.outcome, "NOT_APPLIED");
        assert!(failure.message.len() <= 1024 && failure.message.starts_with("xxx"), "{failure:?}");
        service.client.must(&raise("notice"), &[]).await;
    }
    let grown = service.server.resident().saturating_sub(before);
    println!("grown by {} KiB", grown / 1024);
    assert!(grown < 24 * MIB, "grown by {} MiB", grown / MIB);
}

#[tokio::test]
async fn wide_statements_are_kept_prepared_within_a_bound() {
    let postgres = Postgres::start();
    let columns: Vec<_> =
        (0..1500).map(|n| format!("a_rather_long_name_of_column_{n} int")).collect();
    postgres.psql(&format!("create table wide ({})", columns.join(", ")));
    let service = Service::on(postgres, "pool.min = 1\npool.max = 1\n").await;
    service.client.must("select * from wide", &[]).await;
    let before = service.server.resident();
    for number in 0..200 {
        service.client.must(&format!("select * from wide where {number} = {number}"), &[]).await;
    }
    let grown = service.server.resident().saturating_sub(before);
    println!("grown by {} KiB", grown / 1024);
    assert!(grown < 32 * MIB, "grown by {} MiB", grown / MIB);
    let names = "select count(*) from pg_prepared_statements";
    let kept = service.client.must(names, &[]).await;
    println!("{:?}", kept.rows);
}
