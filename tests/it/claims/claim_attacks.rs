//! Attacks on claims by a caller that sends any SQL: what is tried, and what it sees of another tenant's rows. The login may
//! create schemas, functions and operators, and the callers share one connection.

use super::attack_table::Outcome::{Nothing, Own, Refused};
use super::attack_table::{ATTACKS, LOOT};
use super::{Database, TENANTS, only};
use crate::harness::client::Client;

/// Runs an attack in one transaction, then asks which tenants' rows it sees.
async fn attack(client: &Client, statements: &[&str]) -> Result<String, String> {
    let mut transaction = client.begin().await;
    for sql in statements {
        let sql = sql.replace("LOOT", LOOT);
        let ran = transaction.query(&sql, &[]).await;
        ran.map_err(|failure| match failure.report.sqlstate.as_str() {
            own if own.starts_with("RG") => own.to_owned(),
            _ => failure.reason,
        })?;
    }
    let seen = transaction.query(TENANTS, &[]).await;
    let seen = seen.map_err(|failure| failure.reason)?;
    transaction.commit().await.map_err(|failure| failure.reason)?;
    Ok(only(&seen).to_owned())
}

#[tokio::test]
async fn no_statement_of_one_caller_shows_rows_of_another() {
    let database = Database::new(&[]);
    let running = database.serve("").await;
    let [acme, beta] = ["acme", "beta"].map(|caller| database.client(&running, caller));
    let mut failed = Vec::new();
    for (attempt, statements, expected) in ATTACKS {
        acme.must("delete from loot", &[]).await;
        acme.must("insert into loot values (current_setting('rowgate.claims'))", &[]).await;
        let outcome = match attack(&beta, statements).await.as_deref() {
            Ok("beta") => Ok(Own),
            Ok("none") => Ok(Nothing),
            Ok(seen) => Err(format!("saw {seen}")),
            Err(reason)
                if *expected == Refused("") || matches!(expected, Refused(it) if *it == reason) =>
            {
                Ok(*expected)
            }
            Err(reason) => Err(reason.to_owned()),
        };
        if outcome.as_ref() != Ok(expected) {
            failed.push(format!("{attempt}: {outcome:?}, not {expected:?}"));
        }
        database.postgres.psql(
            "drop schema if exists evil cascade; drop view if exists mine; drop table if exists mine;
             drop function if exists leak(text), mine(); drop procedure if exists mine(); alter role app reset all",
        );
        for (client, own) in [(&beta, "beta"), (&acme, "acme")] {
            let seen = client.must(TENANTS, &[]).await;
            if only(&seen) != own {
                failed.push(format!("behind {attempt}: {own} sees {}", only(&seen)));
            }
        }
    }
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), ATTACKS.len(), failed.join("\n"));
}

#[tokio::test]
async fn rolling_back_to_a_savepoint_keeps_claims() {
    let database = Database::new(&[]);
    let running = database.serve("").await;
    let client = database.client(&running, "beta");
    let mut transaction = client.begin().await;
    transaction.savepoint("a").await.expect("it is set");
    transaction.query("reset rowgate.claims", &[]).await.expect("it runs");
    assert_eq!(only(&transaction.query(TENANTS, &[]).await.expect("it runs")), "none");
    transaction.rollback_to("a").await.expect("it is undone");
    assert_eq!(only(&transaction.query(TENANTS, &[]).await.expect("it runs")), "beta");
    transaction.commit().await.expect("it is committed");
}

#[tokio::test]
async fn keys_and_claims_are_in_no_plan_and_no_log_of_rowgate() {
    let database = Database::new(&["log_statement=all"]);
    let running = database.serve("[telemetry]\nlog_filter = 'trace'").await;
    let client = database.client(&running, "acme");
    let mut transaction = client.begin().await;
    for sql in [
        "set debug_print_plan = on",
        "set debug_print_rewritten = on",
        "set debug_print_parse = on",
    ] {
        transaction.query(sql, &[]).await.expect("everybody may");
    }
    for _ in 0..8 {
        assert_eq!(only(&transaction.query(TENANTS, &[]).await.expect("it runs")), "acme");
        transaction.query("select rowgate.claim('tenant')", &[]).await.expect("it runs");
    }
    drop(transaction);
    let pads = database.postgres.psql("select inner_pad, outer_pad from rowgate.claim_keys");
    let log = database.postgres.log();
    assert!(log.contains("PLANNEDSTMT"), "the plans are in the log");
    for pad in pads.split('|') {
        let digits = pad.trim_start_matches("\\x");
        let byte =
            |at: usize| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("two digits");
        let printed: Vec<_> = (0..8).map(|at| byte(at).cast_signed().to_string()).collect();
        assert!(!log.contains(&printed.join(" ")), "a key is in a plan");
        assert!(!log.contains(digits), "a key is in the log of the server");
    }
    let own = running.server.log();
    assert!(own.contains("TRACE"), "it tells everything");
    for secret in [r#""caller""#, r#"\"caller"#, KEY_START] {
        assert!(!own.contains(secret), "{secret} is in the log");
    }
}

const KEY_START: &str = "0123456789abcdef";
