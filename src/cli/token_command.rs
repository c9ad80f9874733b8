//! `rowgate token`.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Subcommand;

use super::command_error::{CommandError, Result};
use super::config_flags::Settings;
use super::console::{Console, Exit, visible};
use super::query::{Format, Summary, print_set};
use crate::access::{TokenEntry, TokenFile, new_token};
use crate::config::{Config, most_similar};
use crate::value::proto::{DataType, ResultSet};
use crate::value::{Column, Row, Value};

/// The longest life of a token that ends: RFC 3339 has four digits for a year.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

const NEW: &str = "\
The token is printed once, alone on standard output; the file has its hash only. The caller is a section \
`callers.NAME` of the server's configuration, and may have several tokens: to change one, make another, give it to \
the caller, and revoke the first. A running server knows a new token within a second.

Examples:
  (umask 077; rowgate token new shop --expires 90d > shop.token)
  rowgate token new shop | kubectl create secret generic shop-token --from-file token=/dev/stdin

Exit status: 0 success; 1 the configuration has no such caller, or the file cannot be written; 78 the configuration \
has problems.";

const LIST: &str = "\
Examples:
  rowgate token list
  rowgate token list --format json | jq 'select(.state == \"expired\")'

Exit status: 0 success; 1 the file cannot be read; 78 the configuration has problems.";

const REVOKE: &str = "\
A running server ends the streams, watches and transactions that the token has let in, and refuses its calls, within a \
second. With --file no configuration is read.

Example:
  rowgate token revoke 0dPq7uL2mVbX

Exit status: 0 the token is revoked; 1 there is no such token, or the file cannot be written; 78 the \
configuration has problems.";

/// Make, list and revoke the tokens of callers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

// The file of tokens. A doc comment would replace that of each command.
#[derive(Debug, clap::Args)]
struct Place {
    /// The file of tokens, instead of `access.tokens`
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a token for a caller, and print it once
    #[command(after_help = NEW)]
    New {
        /// The caller, a section of the configuration
        caller: String,
        /// The time until the token is refused; without it the token does not expire
        #[arg(long, value_name = "DURATION", value_parser = lifetime)]
        expires: Option<Duration>,
        #[command(flatten)]
        place: Place,
    },
    /// List the tokens, which cannot be read back from the file
    #[command(after_help = LIST)]
    List {
        /// The output format
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
        #[command(flatten)]
        place: Place,
    },
    /// Revoke a token
    #[command(after_help = REVOKE)]
    Revoke {
        /// The token's id, as `rowgate token list` lists it
        id: String,
        #[command(flatten)]
        place: Place,
    },
}

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<Exit> {
    match &args.command {
        Command::New { caller, expires, place } => {
            let config = place.settings.load_without_listeners(console)?.config;
            check_caller(&config, caller)?;
            make(caller, *expires, &place.path(&config)?, console)?;
        }
        Command::List { format, place } => {
            let config = place.settings.load_without_listeners(console)?.config;
            let tokens = TokenFile::new(place.path(&config)?).read()?;
            let set = result_set(&tokens, &config, SystemTime::now());
            print_set(set, *format, &mut Summary::default(), console)?;
        }
        Command::Revoke { id, place } => {
            let path = match &place.file {
                Some(file) => file.clone(),
                None => place.path(&place.settings.load_without_listeners(console)?.config)?,
            };
            revoke(id, &path, console)?;
        }
    }
    Ok(Exit::Success)
}

impl Place {
    fn path(&self, config: &Config) -> Result<PathBuf> {
        let configured = || config.access.tokens.as_ref().map(PathBuf::from);
        self.file.clone().or_else(configured).ok_or_else(|| {
            let why = "access.tokens is not set: set it to the path of the server's file of tokens, or name the file \
                       with --file";
            CommandError::Config(why.to_owned())
        })
    }
}

/// Parses the life of a token.
fn lifetime(text: &str) -> Result<Duration, String> {
    let life = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match life {
        Duration::ZERO => Err("the token would have expired".to_owned()),
        life if life > LONGEST => Err("it is at most 100 years: leave it out".to_owned()),
        life => Ok(life),
    }
}

/// Refuses a caller that is not configured: its token would let nobody in.
fn check_caller(config: &Config, caller: &str) -> Result<()> {
    let callers = || config.callers.keys().map(String::as_str);
    if config.callers.contains_key(caller) {
        return Ok(());
    }
    let instead = match most_similar(caller, callers()) {
        Some(similar) => format!("did you mean {similar}?"),
        None if config.callers.is_empty() => {
            format!("it has no caller; add a section [callers.{caller}]")
        }
        None => format!("it has {}", callers().collect::<Vec<_>>().join(", ")),
    };
    let why = format!("the configuration has no caller \"{caller}\": {instead}");
    Err(CommandError::Failed(why))
}

fn make(
    caller: &str,
    expires: Option<Duration>,
    path: &Path,
    console: &mut Console<'_>,
) -> Result<()> {
    let (id, token) = new_token()?;
    let expires = expires.and_then(|life| SystemTime::now().checked_add(life));
    let entry = TokenEntry::new(&id, &token, caller, expires);
    TokenFile::new(path).add(&entry)?;
    writeln!(console.out, "{token}")?;
    let until = entry.expires.map(|end| format!(", until {end}")).unwrap_or_default();
    writeln!(
        console.err,
        "token {id} of caller {caller}{until}; its hash is in {}\n\
         It is shown this once. The caller sends it with each call as the header `authorization: Bearer TOKEN`;\n\
         `rowgate query --token-file PATH` reads it from a file. `rowgate token revoke {id}` ends it.",
        visible(&path.display().to_string())
    )?;
    Ok(())
}

fn revoke(id: &str, path: &Path, console: &mut Console<'_>) -> Result<()> {
    let name = path.display();
    let Some(revoked) = TokenFile::new(path).revoke(id)? else {
        // Whoever gives the whole token by mistake does not find it in a log.
        let what = if id.contains('_') { "such token".to_owned() } else { format!("token {id}") };
        let why = format!("{name} has no {what}; `rowgate token list` lists their ids");
        return Err(CommandError::Failed(why));
    };
    let text = format!("token {id} of caller {} removed from {name}", revoked.caller);
    writeln!(console.out, "{}", visible(&text))?;
    Ok(())
}

/// The state of a token for a server with this configuration.
fn state(token: &TokenEntry, config: &Config, now: SystemTime) -> &'static str {
    if token.has_expired(now) {
        "expired"
    } else if config.callers.contains_key(&token.caller) {
        "valid"
    } else {
        "no such caller"
    }
}

fn result_set(tokens: &[TokenEntry], config: &Config, now: SystemTime) -> ResultSet {
    let column = |name: &str| Column {
        name: name.to_owned(),
        r#type: DataType::Text.into(),
        ..Column::default()
    };
    let row = |token: &TokenEntry| {
        let expires = token.expires.as_ref().map_or_else(Value::null, Value::text);
        let [id, caller, created] = [&token.id, &token.caller, &token.created].map(Value::text);
        Row { values: vec![id, caller, created, expires, Value::text(state(token, config, now))] }
    };
    ResultSet {
        has_columns: true,
        columns: ["id", "caller", "created", "expires", "state"].map(column).into(),
        rows: tokens.iter().map(row).collect(),
        ..ResultSet::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::on_console;
    use crate::config::load_from;

    fn config(pairs: &[(&str, &str)]) -> Config {
        load_from(pairs).expect("it is a configuration")
    }

    #[test]
    fn a_caller_that_is_not_configured_gets_no_token() {
        let cases: [(&[(&str, &str)], &str); 3] = [
            (&[("callers.shop.rpcs", "Query")], "did you mean shop?"),
            (&[("callers.billing.rpcs", "Query")], "it has billing"),
            (&[], "it has no caller; add a section [callers.shpo]"),
        ];
        for (pairs, instead) in cases {
            let config = config(pairs);
            let (exit, out, err) =
                on_console(|_| check_caller(&config, "shpo").map(|()| Exit::Success));
            assert_eq!((exit, out.as_str()), (Exit::Failure, ""));
            let expected = format!("error: the configuration has no caller \"shpo\": {instead}\n");
            assert_eq!(err, expected);
        }
    }

    #[test]
    fn a_life_is_a_duration_that_ends_and_that_a_date_can_hold() {
        assert_eq!(lifetime("90d"), Ok(Duration::from_secs(90 * 24 * 3600)));
        for wrong in ["", "0s", "soon", "101y", "99999999999999y"] {
            assert!(lifetime(wrong).is_err(), "{wrong}");
        }
        let last = SystemTime::now() + LONGEST;
        assert!(TokenEntry::new("id", "t", "shop", Some(last)).expires.is_some());
    }

    #[test]
    fn a_token_is_alone_on_standard_output_and_its_state_is_listed() {
        let directory = tempfile::tempdir().expect("there is room");
        let path = directory.path().join("tokens");
        let made = |caller, life| {
            let (exit, out, err) =
                on_console(|console| make(caller, life, &path, console).map(|()| Exit::Success));
            assert_eq!(exit, Exit::Success, "{err}");
            let token = out.trim_end().to_owned();
            assert!(out == format!("{token}\n") && token.starts_with("rg_"), "{out}");
            assert!(!err.contains(&token) && err.contains("authorization: Bearer"), "{err}");
            token.split('_').nth(1).expect("its id").to_owned()
        };
        let ids = [("shop", Some(Duration::from_secs(60))), ("shop", None), ("old", None)]
            .map(|(caller, life)| made(caller, life));
        let tokens = TokenFile::new(&path).read().expect("it is well formed");
        let later = SystemTime::now() + Duration::from_secs(61);
        let config = config(&[("callers.shop.rpcs", "Query")]);
        let listed = result_set(&tokens, &config, later);
        let states = ["expired", "valid", "no such caller"];
        for (row, (id, state)) in listed.rows.iter().zip(ids.iter().zip(states)) {
            assert_eq!((&row.values[0], &row.values[4]), (&Value::text(id), &Value::text(state)));
        }
        let revoked =
            |id: &str| on_console(|console| revoke(id, &path, console).map(|()| Exit::Success));
        let (exit, out, _) = revoked(&ids[0]);
        let expected = format!("token {} of caller shop removed from {}\n", ids[0], path.display());
        assert_eq!((exit, out), (Exit::Success, expected));
        let (exit, _, err) = revoked(&ids[0]);
        assert!(exit == Exit::Failure && err.contains("`rowgate token list`"), "{err}");
        let (_, _, err) = revoked("rg_id_secret");
        assert!(!err.contains("secret"), "{err}");
    }
}
