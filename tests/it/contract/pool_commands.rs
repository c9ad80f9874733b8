//! `rowgate pool`: what operators see of a pool and do to it, on the command line.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use rowgate::value::proto::Commit;
use rowgate::value::proto::transact_request::Command as Unit;

use super::contract;
use crate::harness::Service;
use crate::harness::client::PATIENCE;
use crate::harness::server::{rowgate, run};
use crate::harness::wait::eventually;

contract! {
    stats_are_printed_in_each_format
    a_pause_is_told_from_its_begin_to_its_end
    checkouts_are_listed_and_terminated
    connections_are_replaced_and_bounds_changed
    a_watch_that_is_no_terminal_prints_a_line_for_each_change
    a_watch_on_a_terminal_shows_checkouts_and_ends_with_q
    what_cannot_be_done_is_explained
}

/// Status, standard output, standard error.
type Ended = (Option<i32>, String, String);

fn ended(output: Output) -> Ended {
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn environment(service: &Service) -> (&'static str, String) {
    ("ROWGATE_ADDRESS", format!("http://{}", service.server.grpc()))
}

/// Runs `rowgate pool` with these arguments.
fn pool(service: &Service, arguments: &[&str]) -> Ended {
    let arguments = [&["pool"], arguments].concat();
    let (name, address) = environment(service);
    ended(run(service.server.directory(), &arguments, &[(name, &address)]))
}

/// Starts it, to be read or ended later.
fn start(service: &Service, arguments: &[&str]) -> Child {
    let mut command = rowgate(service.server.directory());
    let (name, address) = environment(service);
    command.arg("pool").args(arguments).env(name, address);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the binary was built")
}

/// Runs it without keeping the test from going on.
async fn pool_meanwhile(child: Child) -> Ended {
    let waited = tokio::task::spawn_blocking(move || child.wait_with_output());
    ended(waited.await.expect("no panic").expect("it is our child"))
}

async fn stats_are_printed_in_each_format(service: Service) {
    service.client.must("select 1", &[]).await;
    let (status, out, err) = pool(&service, &["stats"]);
    assert_eq!((status, err.as_str()), (Some(0), ""));
    assert!(out.contains("│ pool ┆ state ┆ in use ┆"), "{out}");
    assert!(out.contains("│ main ┆ ok    ┆"), "{out}");
    let (_, out, _) = pool(&service, &["stats", "main"]);
    for figure in ["backend", "statements", "closed admin", "wait time ms"] {
        assert!(out.contains(&format!("│ {figure} ")), "{out}");
    }
    let (_, out, _) = pool(&service, &["stats", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&out).expect("one object");
    assert_eq!(json["pool"], "main");
    assert_eq!(json["backend"], service.pick("sqlite", "postgres", "mysql"));
    assert!(json["statements"].as_u64() >= Some(1), "{json}");
    assert_eq!((&json["paused"], &json["oldest_wait_ms"]), (&false.into(), &().into()));
    let (_, out, _) = pool(&service, &["stats", "--format", "csv"]);
    assert_eq!(out.lines().count(), 2, "{out}");
    assert!(out.starts_with("instance,pool,backend,paused,"), "{out}");
}

async fn a_pause_is_told_from_its_begin_to_its_end(service: Service) {
    let mut transaction = service.client.begin().await;
    transaction.query("select 1", &[]).await.expect("it runs");
    let (status, out, err) = pool(&service, &["pause", "main", "--timeout", "0s"]);
    assert_eq!(status, Some(1), "work is open: {out}{err}");
    assert!(err.contains("1 connection is still in use"), "{err}");
    assert!(out.contains("┆ Transact ┆") || out.contains("Transact"), "{out}");

    let pausing = start(&service, &["pause", "main"]);
    let pausing = tokio::spawn(pool_meanwhile(pausing));
    transaction.send(Unit::Commit(Commit {})).await;
    transaction.reply().await.expect("it commits");
    let (status, out, err) = pausing.await.expect("no panic");
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("is paused and idle; waited "), "{out}");
    let (_, out, _) = pool(&service, &["stats"]);
    assert!(out.contains("│ paused │") || out.contains("┆ paused ┆"), "{out}");

    let client = service.client.clone();
    let waiting = tokio::spawn(async move { client.query("select 1", &[]).await });
    service.until_pool("the call waits", |pool| pool.waiting == 1).await;
    let (status, out, err) = pool(&service, &["resume", "main"]);
    assert_eq!((status, err.as_str()), (Some(0), ""));
    assert!(out.ends_with("is resumed; 1 caller had waited\n"), "{out}");
    waiting.await.expect("no panic").expect("it was let in");
    assert!(pool(&service, &["resume", "main"]).1.ends_with("was not paused\n"));
}

async fn checkouts_are_listed_and_terminated(service: Service) {
    assert_eq!(pool(&service, &["checkouts"]).1, "no connection is checked out\n");
    let mut transaction = service.client.begin().await;
    transaction.query("select 1 as one", &[]).await.expect("it runs");
    let id = service.checkout(|one| one.rpc == "Transact").await.id.to_string();
    let (status, out, err) = pool(&service, &["checkouts"]);
    assert_eq!((status, err.as_str()), (Some(0), ""));
    let line = out.lines().find(|line| line.contains(" main ")).expect("it is listed");
    for reported in [&id, "127.0.0.1", "Transact"] {
        assert!(line.contains(reported), "{out}");
    }
    let (_, out, _) = pool(&service, &["checkouts", "main", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&out).expect("one object");
    assert_eq!((&json["rpc"], &json["leak"]), (&"Transact".into(), &false.into()));

    let (status, out, _) = pool(&service, &["terminate", "main", &id]);
    assert_eq!(status, Some(0));
    assert!(out.starts_with(&format!("checkout {id} of pool main of ")), "{out}");
    let reported = transaction.reply().await.expect_err("it is over");
    assert_eq!(reported.reason, "TERMINATED");
    service.until_pool("the connection is back", |pool| pool.in_use == 0).await;
    let (status, _, err) = pool(&service, &["terminate", "main", &id]);
    assert_eq!(status, Some(1));
    assert!(err.contains("CHECKOUT_NOT_FOUND"), "{err}");
}

async fn connections_are_replaced_and_bounds_changed(service: Service) {
    service.client.must("select 1", &[]).await;
    service.until_pool("the connection is back", |pool| pool.in_use == 0).await;
    let (status, out, _) = pool(&service, &["reconnect", "main"]);
    assert_eq!(status, Some(0));
    assert!(out.contains(" reconnects: ") && out.contains(" closed, none was in use"), "{out}");
    let before = service.pool().await;
    let (status, out, _) = pool(&service, &["resize", "main", "--min", "1", "--max", "30"]);
    assert_eq!(status, Some(0));
    let after = service.pool().await;
    let reported =
        format!("min {} → {}, max {} → {}\n", before.min, after.min, before.max, after.max);
    assert!(after.max > before.max && out.ends_with(&reported), "{out}");
    let (status, _, err) = pool(&service, &["resize", "main", "--min", "9", "--max", "8"]);
    assert_eq!(status, Some(1));
    assert!(err.contains("min would be 9, above max, which is 8"), "as they were asked for: {err}");
    let (status, _, err) = pool(&service, &["resize", "main", "--max", "0"]);
    assert_eq!(status, Some(1));
    assert!(err.contains("INVALID_OPTION") && err.contains(", not 0\n"), "{err}");
    assert_eq!(pool(&service, &["resize", "main"]).0, Some(2), "nothing to do");
}

async fn a_watch_that_is_no_terminal_prints_a_line_for_each_change(service: Service) {
    let mut watch = start(&service, &["watch", "main", "--interval", "100ms"]);
    let (sender, lines) = std::sync::mpsc::sync_channel(1000);
    let output = BufReader::new(watch.stdout.take().expect("it is piped"));
    std::thread::spawn(move || {
        output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    let until = |state: &str| loop {
        let line = lines.recv_timeout(PATIENCE).expect("a line for the change");
        let (time, rest) = line.split_once(' ').expect("a time first");
        assert!(time.ends_with('Z') && rest.starts_with("pool=main state="), "{line}");
        if rest.contains(&format!("state={state} ")) {
            return;
        }
    };
    until("ok");
    pool(&service, &["pause", "main"]);
    until("paused");
    pool(&service, &["resume", "main"]);
    until("ok");
    // Nothing happens, so nothing is printed, although it looks ten times a second.
    let settled = lines.try_iter().count();
    assert!(settled <= 2, "{settled} lines for no change");
    let pid = watch.id().to_string();
    std::process::Command::new("kill").args(["-INT", &pid]).status().expect("kill runs");
    let status = eventually("it ends", Duration::from_secs(10), || {
        watch.try_wait().expect("it is our child")
    });
    assert_eq!(status.code(), Some(0), "Ctrl-C is how it ends");
}

async fn a_watch_on_a_terminal_shows_checkouts_and_ends_with_q(service: Service) {
    let mut open = service.client.begin().await;
    open.query("select 4711 as held", &[]).await.expect("it runs");
    let (name, address) = environment(&service);
    let watch = format!("{} pool watch", crate::harness::server::binary().display());
    let mut command = std::process::Command::new("script");
    command.args(["-qec", &watch, "/dev/null"]).env(name, address).env("TERM", "xterm");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("util-linux is installed");
    let mut keys = child.stdin.take().expect("it is piped");
    let mut output = child.stdout.take().expect("it is piped");
    let mut seen = Vec::new();
    let mut part = [0; 4096];
    while !String::from_utf8_lossy(&seen).contains("checkouts, the oldest first") {
        let length = output.read(&mut part).expect("it is open");
        assert!(length > 0, "it has ended: {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&part[..length]);
    }
    assert!(String::from_utf8_lossy(&seen).contains("q ends"));
    keys.write_all(b"q").expect("it listens");
    output.read_to_end(&mut seen).expect("it ends");
    assert_eq!(child.wait().expect("it is ours").code(), Some(0), "q is how it ends");
    assert!(String::from_utf8_lossy(&seen).contains("\x1b[?1049l"), "the screen is restored");
    open.rollback().await.expect("it is open");
}

async fn what_cannot_be_done_is_explained(service: Service) {
    for command in [
        &["stats", "mian"][..],
        &["watch", "mian"],
        &["checkouts", "mian"],
        &["pause", "mian"],
        &["resume", "mian"],
        &["reconnect", "mian"],
        &["resize", "mian", "--max", "3"],
        &["terminate", "mian", "1"],
    ] {
        let (status, out, err) = pool(&service, command);
        assert_eq!((status, out.as_str()), (Some(1), ""), "{command:?}");
        assert!(err.contains("error: there is no pool \"mian\""), "{err}");
        assert!(err.contains("POOL_NOT_FOUND") && err.contains("Known here: main."), "{err}");
    }
    let watch = start(&service, &["watch"]);
    let watch = tokio::spawn(pool_meanwhile(watch));
    service.server.signal("TERM");
    let (status, _, err) = watch.await.expect("no panic");
    assert_eq!(status, Some(1));
    let reported =
        ["SHUTTING_DOWN", "cannot connect"].iter().any(|reported| err.contains(reported));
    assert!(reported, "{err}");
    let (status, _, err) = pool(&service, &["stats", "--address", "http://127.0.0.1:1"]);
    assert_eq!(status, Some(1));
    assert!(err.contains("cannot connect to"), "{err}");
}
