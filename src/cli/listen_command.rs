//! `rowgate listen`.

use std::collections::HashSet;
use std::io;
use std::time::SystemTime;

use clap::builder::NonEmptyStringValueParser;
use serde_json::json;

use super::command_error::{CommandError, Result};
use super::console::{Console, Exit, counted, visible};
use super::server_flag::{Server, block_on};
use crate::app;
use crate::value::proto::listen_response::Event;
use crate::value::proto::{Gap, ListenRequest, Notification};

const LISTEN: &str = "\
Each notification is a line: the channel, a tab, and the payload. In both, a line break is \\n, a tab \\t, a backslash \\\\, and other \
control characters are escaped too, so that no payload looks like another notification. With --json it is an object, and so is the moment \
from which on nothing is lost silently, {\"event\": \"listening\"}, and each gap; without, these go to standard error. \
Channels are exact names: `Orders` is the channel of NOTIFY \"Orders\".

Examples:
  rowgate listen orders invoices
  rowgate listen orders --database shop --json | jq .payload
  rowgate query \"select pg_notify('orders', '4711')\"

Exit status: 0 after Ctrl-C; 1 the call failed, or the server ended.";

/// Print notifications of PostgreSQL's channels as they come
#[derive(Debug, clap::Args)]
#[command(after_help = LISTEN)]
pub(crate) struct Args {
    /// The channels
    #[arg(required = true, value_name = "CHANNEL", value_parser = NonEmptyStringValueParser::new())]
    channels: Vec<String>,
    /// The logical name of the database; the server's default one if omitted
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// Print each event as a JSON object on a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

pub(crate) fn run(args: Args, console: &mut Console<'_>) -> Result<Exit> {
    block_on(async {
        tokio::select! {
            () = app::signalled() => Ok(Exit::Success),
            ended = follow(args, console) => ended,
        }
    })
}

/// Prints events until the stream ends.
async fn follow(args: Args, console: &mut Console<'_>) -> Result<Exit> {
    let Args { channels, database, json, server } = args;
    let distinct: HashSet<&str> = channels.iter().map(String::as_str).collect();
    let count = u64::try_from(distinct.len()).unwrap_or(u64::MAX);
    let client = server.connect().await?;
    let database = database.unwrap_or_default();
    let mut events = client.listen(ListenRequest { database, channels }).await?;
    while let Some(event) = events.next().await? {
        if json {
            writeln!(console.out, "{}", object(&event))?;
        } else {
            print(&event, count, console)?;
        }
        console.out.flush()?;
    }
    Err(CommandError::Failed("the server ended the stream".to_owned()))
}

fn print(event: &Event, channels: u64, console: &mut Console<'_>) -> io::Result<()> {
    match event {
        Event::Listening(_) => {
            writeln!(console.err, "listening to {}", counted(channels, "channel"))
        }
        Event::Notification(Notification { channel, payload, .. }) => {
            writeln!(console.out, "{}\t{}", field(channel), field(payload))
        }
        Event::Gap(gap) => {
            let since = since(gap);
            writeln!(console.err, "notifications since {since} may be missing; listening again")
        }
    }
}

/// A part of a line, which it neither ends nor divides. What is escaped can be read back, as backslashes are.
fn field(text: &str) -> String {
    visible(&text.replace('\\', "\\\\")).replace('\n', "\\n")
}

fn object(event: &Event) -> serde_json::Value {
    match event {
        Event::Listening(_) => json!({ "event": "listening" }),
        Event::Notification(Notification { channel, payload, process_id }) => json!({
            "event": "notification",
            "channel": channel,
            "payload": payload,
            "process_id": process_id,
        }),
        Event::Gap(gap) => json!({ "event": "gap", "since": since(gap) }),
    }
}

fn since(gap: &Gap) -> String {
    let since = gap.since.and_then(|since| SystemTime::try_from(since).ok());
    since.map_or_else(String::new, |since| humantime::format_rfc3339_millis(since).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(event: Event) -> (String, String) {
        let mut out = Vec::new();
        let mut err = Vec::new();
        let mut console = Console { out: &mut out, is_terminal: false, err: &mut err };
        print(&event, 2, &mut console).expect("it is written");
        let text = |bytes| String::from_utf8(bytes).expect("it is text");
        (text(out), text(err))
    }

    #[test]
    fn a_notification_is_a_line_and_the_rest_goes_to_standard_error() {
        let notification = |payload: &str| {
            let channel = "orders".to_owned();
            Event::Notification(Notification {
                channel,
                payload: payload.to_owned(),
                process_id: 7,
            })
        };
        assert_eq!(printed(notification("4711")).0, "orders\t4711\n");
        assert_eq!(printed(notification("\u{1b}[2J")).0, "orders\t\\u{1b}[2J\n");
        let forged = printed(notification("1\norders\t2\\n\r")).0;
        assert_eq!(forged, "orders\t1\\norders\\t2\\\\n\\r\n");
        let listening = printed(Event::Listening(crate::value::proto::Listening {}));
        assert_eq!(listening, (String::new(), "listening to 2 channels\n".to_owned()));
        let since = Some(SystemTime::UNIX_EPOCH.into());
        let gap = Event::Gap(Gap { since });
        assert_eq!(object(&gap), json!({ "event": "gap", "since": "1970-01-01T00:00:00.000Z" }));
        assert!(printed(gap).1.contains("since 1970-01-01T00:00:00.000Z may be missing"));
    }
}
