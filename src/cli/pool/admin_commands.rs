//! `rowgate pool pause`, `resume`, `reconnect`, `resize`, `terminate`: what came of them.

use std::io;
use std::time::Duration;

use super::stat_names::{duration, readable};
use super::{checkouts, screen};
use crate::cli::console::{Console, counted, visible};
use crate::cli::server_address::{Server, runtime};
use crate::cli::{Exit, call_failure};
use crate::grpc::client::Client;
use crate::value::proto::{
    Checkout, PausePoolResponse, ReconnectPoolResponse, ResizePoolResponse, ResumePoolResponse,
    TerminateCheckoutResponse,
};

/// How much longer than the wait a server may take before it is given up. It is more than the client gives
/// the call itself.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn pause(
    pool: &str,
    timeout: Duration,
    server: &Server,
    console: &mut Console<'_>,
) -> io::Result<Exit> {
    let answer = runtime()?.block_on(async {
        let client = Client::connect(&server.address).await?;
        let client = client.with_limit(timeout.saturating_add(PATIENCE));
        let answer = client.pause_pool(pool, timeout).await?;
        let open = match answer.still_open {
            0 => Vec::new(),
            // Who they are is worth a look and no failure: that they are open is known.
            _ => client.list_checkouts(pool).await.unwrap_or_default().checkouts,
        };
        Ok((answer, open))
    });
    match answer {
        Ok((answer, open)) => paused(pool, &answer, &open, console),
        Err(error) => console.fail(&call_failure::describe(&error, None)),
    }
}

fn paused(
    pool: &str,
    answer: &PausePoolResponse,
    open: &[Checkout],
    console: &mut Console<'_>,
) -> io::Result<Exit> {
    let name = of(pool, &answer.instance);
    let waited = readable(duration(answer.waited).unwrap_or_default());
    if !answer.paused {
        return console.fail(&format!("{name} was resumed after {waited} by somebody else"));
    }
    if answer.still_open == 0 {
        writeln!(console.out, "{name} is paused and at rest; waited {waited} for open work")?;
        return Ok(Exit::Success);
    }
    let connections = counted(answer.still_open.into(), "connection");
    let verb = if answer.still_open == 1 { "is" } else { "are" };
    console.fail(&format!(
        "{name} is paused, but after {waited} {connections} {verb} still at work"
    ))?;
    if !open.is_empty() {
        for line in checkouts::overview(open, screen::width()) {
            writeln!(console.out, "{line}")?;
        }
    }
    Ok(Exit::Failure)
}

pub(crate) fn resumed(
    pool: &str,
    answer: &ResumePoolResponse,
    console: &mut Console<'_>,
) -> io::Result<Exit> {
    let name = of(pool, &answer.instance);
    if answer.was_paused {
        let waiting = counted(answer.waiting.into(), "caller");
        writeln!(console.out, "{name} is resumed; {waiting} had waited")?;
    } else {
        writeln!(console.out, "{name} was not paused")?;
    }
    Ok(Exit::Success)
}

pub(crate) fn reconnected(
    pool: &str,
    answer: &ReconnectPoolResponse,
    console: &mut Console<'_>,
) -> io::Result<Exit> {
    let name = of(pool, &answer.instance);
    let closed = counted(answer.closed.into(), "idle connection");
    let closing = match answer.closing {
        0 => "none was at work".to_owned(),
        1 => "1 at work is closed when it comes back".to_owned(),
        several => format!("{several} at work are closed when they come back"),
    };
    writeln!(console.out, "{name} reconnects: {closed} closed, {closing}")?;
    Ok(Exit::Success)
}

pub(crate) fn resized(
    pool: &str,
    answer: &ResizePoolResponse,
    console: &mut Console<'_>,
) -> io::Result<Exit> {
    let ResizePoolResponse { min, max, previous_min, previous_max, .. } = answer;
    let name = of(pool, &answer.instance);
    write!(console.out, "{name}: min {previous_min} → {min}, max {previous_max} → {max}")?;
    match answer.closing {
        0 => writeln!(console.out)?,
        1 => writeln!(console.out, "; 1 connection too many is closed when it comes back")?,
        many => {
            writeln!(console.out, "; {many} connections too many are closed when they come back")?
        }
    }
    Ok(Exit::Success)
}

pub(crate) fn terminated(
    pool: &str,
    checkout: u64,
    answer: &TerminateCheckoutResponse,
    console: &mut Console<'_>,
) -> io::Result<Exit> {
    let name = of(pool, &answer.instance);
    writeln!(console.out, "checkout {checkout} of {name} is being ended")?;
    Ok(Exit::Success)
}

fn of(pool: &str, instance: &str) -> String {
    format!("pool {} of {}", visible(pool), visible(instance))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::console::tests::on_console;

    #[test]
    fn a_pause_succeeds_only_when_the_pool_is_at_rest() {
        let answer = |still_open, paused| PausePoolResponse {
            instance: "host:1".to_owned(),
            waited: Duration::from_millis(1_500).try_into().ok(),
            still_open,
            paused,
        };
        let told = |answer: PausePoolResponse, open: &[Checkout]| {
            on_console(|console| paused("main", &answer, open, console))
        };
        let (exit, out, err) = told(answer(0, true), &[]);
        assert_eq!((exit, err.as_str()), (Exit::Success, ""));
        assert_eq!(out, "pool main of host:1 is paused and at rest; waited 1.5s for open work\n");
        let open = Checkout { pool: "main".to_owned(), id: 4711, ..Checkout::default() };
        let (exit, out, err) = told(answer(1, true), &[open]);
        assert_eq!(exit, Exit::Failure);
        assert!(err.contains("after 1.5s 1 connection is still at work"), "{err}");
        assert!(out.contains("4711"), "{out}");
        let (exit, _, err) = told(answer(0, false), &[]);
        assert_eq!(exit, Exit::Failure);
        assert!(err.contains("resumed after 1.5s by somebody else"), "{err}");
    }

    #[test]
    fn what_was_done_is_told_in_numbers() {
        let answer = ResizePoolResponse {
            instance: "host:1".to_owned(),
            min: 2,
            max: 4,
            previous_min: 5,
            previous_max: 20,
            closing: 3,
        };
        let (_, out, _) = on_console(|console| resized("main", &answer, console));
        let expected = "pool main of host:1: min 5 → 2, max 20 → 4; 3 connections too many are \
                        closed when they come back\n";
        assert_eq!(out, expected);
        let answer = ReconnectPoolResponse { instance: "host:1".to_owned(), closed: 1, closing: 2 };
        let (_, out, _) = on_console(|console| reconnected("main", &answer, console));
        let expected = "pool main of host:1 reconnects: 1 idle connection closed, 2 at work are \
                        closed when they come back\n";
        assert_eq!(out, expected);
        for (was_paused, waiting, expected) in
            [(true, 2, "is resumed; 2 callers had waited"), (false, 0, "was not paused")]
        {
            let answer = ResumePoolResponse { instance: "host:1".to_owned(), waiting, was_paused };
            let (_, out, _) = on_console(|console| resumed("main", &answer, console));
            assert_eq!(out, format!("pool main of host:1 {expected}\n"));
        }
    }
}
