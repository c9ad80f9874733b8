//! Listen: the notifications of channels, until the caller leaves.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use tokio::time::Sleep;

use super::database::Caller;
use super::databases::Engine;
use super::validate::invalid_option;
use crate::backend::{ListenEvent, Subscription};
use crate::clock::now;
use crate::deadline::{CallLimits, Deadline};
use crate::error::{Error, ErrorKind, Result};
use crate::value::proto::listen_response::Event;
use crate::value::proto::{Gap, ListenRequest, Listening, Notification};

/// The longest name of a channel: PostgreSQL would shorten a longer one, in bytes.
const LONGEST_NAME: usize = 63;

/// The deadline of a listener whose caller sent none: longer than any, and within the clock's range.
const NO_DEADLINE: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

struct Listener {
    subscription: Subscription,
    deadline: Pin<Box<Sleep>>,
}

impl Engine {
    /// Adds a listener, which listens until it is dropped or its deadline passes, which is the error. The transport ends
    /// listeners when the server shuts down.
    pub(crate) fn listen(
        &self,
        request: ListenRequest,
        caller: &Caller,
    ) -> Result<impl Stream<Item = Result<Event>> + Send + use<>> {
        let database = self.database_of(caller, &request.database)?;
        caller.call.set_labels(&database.name, &caller.name, &Arc::default());
        let channels = channels(request.channels, database.settings().listen.max_channels)?;
        let limits = CallLimits { default: NO_DEADLINE, cap: NO_DEADLINE };
        let deadline = Deadline::of_call(now(), caller.time_left, None, limits);
        let subscription = database.backend.listen(channels)?;
        let deadline = Box::pin(tokio::time::sleep_until(deadline.instant().into()));
        let listener = Listener { subscription, deadline };
        Ok(stream::try_unfold(listener, async |mut listener| {
            let event = listener.next().await?;
            Ok(Some((event, listener)))
        }))
    }
}

impl Listener {
    async fn next(&mut self) -> Result<Event> {
        tokio::select! {
            biased;
            () = &mut self.deadline => {
                let message = "the deadline of the listener has passed";
                Err(Error::new(ErrorKind::DeadlineExceeded, message))
            }
            event = self.subscription.next() => event.map(encode),
        }
    }
}

/// The distinct channels of a request, whose names must be exact.
fn channels(names: Vec<String>, max: usize) -> Result<Vec<Arc<str>>> {
    if names.is_empty() {
        return Err(invalid_option("channels", "the listener names no channel"));
    }
    if names.len() > max {
        let description = format!("a listener has at most {max} channels, not {}", names.len());
        let hint = "Listen with several calls, or raise databases.NAME.listen.max_channels.";
        return Err(Error::field(ErrorKind::InvalidOption, "channels", description).with_hint(hint));
    }
    for (index, name) in names.iter().enumerate() {
        let wrong = if !(1..=LONGEST_NAME).contains(&name.len()) {
            "the name of a channel is 1 to 63 bytes long"
        } else if name.contains('\0') {
            "the name of a channel holds no NUL"
        } else {
            continue;
        };
        return Err(Error::field(ErrorKind::InvalidOption, format!("channels[{index}]"), wrong));
    }
    let mut seen = HashSet::new();
    let names = names.into_iter().map(Arc::<str>::from);
    Ok(names.filter(|name| seen.insert(Arc::clone(name))).collect())
}

fn encode(event: ListenEvent) -> Event {
    match event {
        ListenEvent::Listening => Event::Listening(Listening {}),
        ListenEvent::Notification(one) => Event::Notification(Notification {
            channel: one.channel.to_string(),
            payload: one.payload.to_string(),
            process_id: one.process_id,
        }),
        ListenEvent::Gap(since) => Event::Gap(Gap { since: Some(since.into()) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_repeated_ones_count_once() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let found = channels(names(&["a", "B", "a", "x\" y"]), 4).expect("they are right");
        assert_eq!(found, ["a", "B", "x\" y"].map(Arc::from));
        let longest = "é".repeat(31) + "x";
        assert!(channels(names(&[&longest]), 1).is_ok());
        for (wrong, field) in [
            (names(&[]), "channels"),
            (names(&["a", "a"]), "channels"),
            (names(&[""]), "channels[0]"),
            (names(&["a\0b"]), "channels[0]"),
            (names(&[&(longest.clone() + "x")]), "channels[0]"),
        ] {
            let error = channels(wrong, 1).expect_err("it is wrong");
            assert_eq!(error.kind(), ErrorKind::InvalidOption);
            assert_eq!(error.violation().expect("it is a field").field, field);
        }
    }
}
