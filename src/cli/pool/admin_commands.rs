//! `rowgate pool pause`, `resume`, `reconnect`, `resize` and `terminate`.

use std::time::Duration;

use super::checkouts;
use super::stat_names::{duration, readable};
use crate::cli::command_error::{CommandError, Result};
use crate::cli::console::{Console, Exit, counted, visible};
use crate::cli::server_flag::{Server, block_on};
use crate::value::proto::{
    Checkout, PausePoolResponse, ReconnectPoolResponse, ResizePoolResponse, ResumePoolResponse,
    TerminateCheckoutResponse,
};

/// The time beyond the wait that a server has to respond; more than the client's own allowance for the call.
const RESPONSE_TIME: Duration = Duration::from_secs(5);

pub(crate) fn pause(
    pool: &str,
    timeout: Duration,
    server: &Server,
    console: &mut Console<'_>,
) -> Result<Exit> {
    let (response, open) = block_on(async {
        let client = server.connect().await?.with_limit(timeout.saturating_add(RESPONSE_TIME));
        let response = client.pause_pool(pool, timeout).await?;
        let open = if response.still_open == 0 {
            Vec::new()
        } else {
            // The list is an extra: its failure is not one of the pause.
            client.list_checkouts(pool).await.unwrap_or_default().checkouts
        };
        Ok((response, open))
    })?;
    paused(pool, &response, &open, console)
}

fn paused(
    pool: &str,
    response: &PausePoolResponse,
    open: &[Checkout],
    console: &mut Console<'_>,
) -> Result<Exit> {
    let name = name(pool, &response.instance);
    let waited = readable(duration(response.waited).unwrap_or_default());
    if !response.paused {
        let why = format!("{name} was resumed by another client after {waited}");
        return Err(CommandError::Failed(why));
    }
    if response.still_open == 0 {
        writeln!(console.out, "{name} is paused and idle; waited {waited} for connections in use")?;
        return Ok(Exit::Success);
    }
    let connections = counted(response.still_open.into(), "connection");
    let verb = if response.still_open == 1 { "is" } else { "are" };
    let why = format!("{name} is paused, but after {waited} {connections} {verb} still in use");
    console.fail(&why)?;
    if !open.is_empty() {
        checkouts::print_table(open, console.out)?;
    }
    Ok(Exit::Failure)
}

pub(crate) fn resumed(pool: &str, response: &ResumePoolResponse) -> String {
    let name = name(pool, &response.instance);
    if response.was_paused {
        let waiting = counted(response.waiting.into(), "caller");
        format!("{name} is resumed; {waiting} had waited")
    } else {
        format!("{name} was not paused")
    }
}

pub(crate) fn reconnected(pool: &str, response: &ReconnectPoolResponse) -> String {
    let name = name(pool, &response.instance);
    let closed = counted(response.closed.into(), "idle connection");
    let closing = match response.closing {
        0 => "none was in use".to_owned(),
        1 => "1 in use is closed when it is returned".to_owned(),
        several => format!("{several} in use are closed when they are returned"),
    };
    format!("{name} reconnects: {closed} closed, {closing}")
}

pub(crate) fn resized(pool: &str, response: &ResizePoolResponse) -> String {
    let ResizePoolResponse { min, max, previous_min, previous_max, .. } = response;
    let closing = match response.closing {
        0 => String::new(),
        1 => "; 1 excess connection is closed when it is returned".to_owned(),
        several => format!("; {several} excess connections are closed when they are returned"),
    };
    let name = name(pool, &response.instance);
    format!("{name}: min {previous_min} → {min}, max {previous_max} → {max}{closing}")
}

pub(crate) fn terminated(pool: &str, id: u64, response: &TerminateCheckoutResponse) -> String {
    format!("checkout {id} of {} is being terminated", name(pool, &response.instance))
}

fn name(pool: &str, instance: &str) -> String {
    format!("pool {} of {}", visible(pool), visible(instance))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::on_console;

    #[test]
    fn a_pause_succeeds_only_if_the_pool_becomes_idle() {
        let answer = |still_open, paused| PausePoolResponse {
            instance: "host:1".to_owned(),
            waited: Duration::from_millis(1_500).try_into().ok(),
            still_open,
            paused,
        };
        let printed = |answer: PausePoolResponse, open: &[Checkout]| {
            on_console(|console| paused("main", &answer, open, console))
        };
        let (exit, out, err) = printed(answer(0, true), &[]);
        assert_eq!((exit, err.as_str()), (Exit::Success, ""));
        assert_eq!(
            out,
            "pool main of host:1 is paused and idle; waited 1.5s for connections in use\n"
        );
        let open = Checkout { pool: "main".to_owned(), id: 4711, ..Checkout::default() };
        let (exit, out, err) = printed(answer(1, true), &[open]);
        assert_eq!(exit, Exit::Failure);
        assert!(err.contains("after 1.5s 1 connection is still in use"), "{err}");
        assert!(out.contains("4711"), "{out}");
        let (exit, _, err) = printed(answer(0, false), &[]);
        assert_eq!(exit, Exit::Failure);
        assert!(err.contains("resumed by another client after 1.5s"), "{err}");
    }

    #[test]
    fn results_are_printed_in_numbers() {
        let answer = ResizePoolResponse {
            instance: "host:1".to_owned(),
            min: 2,
            max: 4,
            previous_min: 5,
            previous_max: 20,
            closing: 3,
        };
        let expected = "pool main of host:1: min 5 → 2, max 20 → 4; 3 excess connections are \
                        closed when they are returned";
        assert_eq!(resized("main", &answer), expected);
        let answer = ReconnectPoolResponse { instance: "host:1".to_owned(), closed: 1, closing: 2 };
        let expected = "pool main of host:1 reconnects: 1 idle connection closed, 2 in use are \
                        closed when they are returned";
        assert_eq!(reconnected("main", &answer), expected);
        for (was_paused, waiting, expected) in
            [(true, 2, "is resumed; 2 callers had waited"), (false, 0, "was not paused")]
        {
            let answer = ResumePoolResponse { instance: "host:1".to_owned(), waiting, was_paused };
            assert_eq!(resumed("main", &answer), format!("pool main of host:1 {expected}"));
        }
    }
}
