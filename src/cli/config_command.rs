//! `rowgate config`

use std::io;

use clap::Subcommand;

use super::command_error::{CommandError, Result};
use super::config_flags::Settings;
use super::console::{Console, Exit, counted, one_line, visible};
use crate::app::{self, CheckStatus, Finding};
use crate::config::{self, Config, Loaded};
use crate::wire_size::widen;

const CHECK: &str = "\
All problems are reported at once, then what is unsafe about the configuration. Without --no-connect, the command \
then connects to each database, looks at the rights of its role, and compares the connections that the pools may open \
with the limits of the server.

Exit status: 0 without problems; 78 if the configuration has problems; 1 if a database is unreachable, its limits are \
too small for the pools, or access.strict allows no start with what was found.";

const SCHEMA: &str = "\
With `rowgate config schema > rowgate.schema.json`, editors with Taplo (Even Better TOML) complete and check \
a rowgate.toml whose first line is `#:schema ./rowgate.schema.json`; YAML files name it in \
`# yaml-language-server: $schema=./rowgate.schema.json`.";

/// Show, check and document the configuration
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a configuration file with every key, its default and its documentation
    Example,
    /// Print the JSON Schema of the configuration, for completion and checks in an editor
    #[command(after_help = SCHEMA)]
    Schema,
    /// Print the tables of docs/CONFIGURATION.md
    #[command(hide = true)]
    Docs,
    /// Print the configuration in effect, as TOML, with the origin of each value; secrets are masked
    Show(Settings),
    /// Check the configuration, connect to its databases, and compare pool sizes with their limits
    #[command(after_help = CHECK)]
    Check {
        #[command(flatten)]
        settings: Settings,
        /// Stay offline: check the configuration alone
        #[arg(long)]
        no_connect: bool,
    },
}

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<Exit> {
    match &args.command {
        Command::Example => console.out.write_all(config::example().as_bytes())?,
        Command::Schema => writeln!(console.out, "{:#}", config::json_schema())?,
        Command::Docs => console.out.write_all(config::key_tables().as_bytes())?,
        Command::Show(settings) => return Ok(show(&settings.load(console)?, console)?),
        Command::Check { settings, no_connect } => {
            let loaded = settings.load(console)?;
            return check(&loaded.config, *no_connect, console);
        }
    }
    Ok(Exit::Success)
}

/// Each line is valid TOML, so that the output can be the start of a file.
fn show(loaded: &Loaded, console: &mut Console<'_>) -> io::Result<Exit> {
    for setting in &loaded.settings {
        let assignment = format!("{} = {}", setting.key, setting.value);
        writeln!(console.out, "{}", visible(&format!("{assignment:<48} # {}", setting.origin)))?;
    }
    Ok(Exit::Success)
}

fn check(config: &Config, no_connect: bool, console: &mut Console<'_>) -> Result<Exit> {
    app::check_files(config).map_err(|error| CommandError::Config(one_line(&error)))?;
    let databases = counted(widen(config.databases.len()), "database");
    writeln!(console.out, "ok      configuration, {databases}")?;
    if no_connect {
        return Ok(findings(&app::check_offline(config), config.access.strict, console)?);
    }
    // Connecting takes time: the first line is to be seen before.
    console.out.flush()?;
    match app::check(config) {
        Ok(lines) => Ok(findings(&lines, config.access.strict, console)?),
        Err(error) => Ok(console.fail(&error)?),
    }
}

/// Prints findings. The server would not start with one that failed, and with `access.strict` only with those that passed.
fn findings(lines: &[Finding], is_strict: bool, console: &mut Console<'_>) -> io::Result<Exit> {
    for line in lines {
        let word = match line.status {
            CheckStatus::Passed => "ok",
            CheckStatus::Unsafe => "unsafe",
            CheckStatus::Unknown => "unclear",
            CheckStatus::Failed => "failed",
        };
        let about = if line.database.is_empty() {
            "server".to_owned()
        } else {
            format!("database {}", line.database)
        };
        let text = visible(&format!("{about}: {}", line.text));
        writeln!(console.out, "{word:<7} {text}")?;
    }
    let is_safe = lines.iter().all(|line| line.status == CheckStatus::Passed);
    if is_strict && !is_safe {
        return console.fail(&"access.strict allows no start unless all is safe");
    }
    let failed = lines.iter().any(|line| line.status == CheckStatus::Failed);
    Ok(if failed { Exit::Failure } else { Exit::Success })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::on_console;

    fn line(database: &str, status: CheckStatus, text: &str) -> Finding {
        Finding { database: database.to_owned(), status, text: text.to_owned() }
    }

    #[test]
    fn one_failed_finding_fails_the_check() {
        let mut lines = vec![
            line("main", CheckStatus::Passed, "answers"),
            line("main", CheckStatus::Unknown, "its connection limits are unknown"),
        ];
        let (exit, out, _) = on_console(|console| findings(&lines, false, console));
        assert_eq!(exit, Exit::Success);
        assert_eq!(
            out,
            "ok      database main: answers\nunclear database main: its connection limits are unknown\n"
        );
        lines.push(line("reports", CheckStatus::Failed, "cannot connect"));
        let (exit, out, _) = on_console(|console| findings(&lines, false, console));
        assert_eq!(exit, Exit::Failure);
        assert!(out.ends_with("failed  database reports: cannot connect\n"), "{out}");
    }

    #[test]
    fn a_strict_check_fails_unless_all_findings_passed() {
        let passed = line("main", CheckStatus::Passed, "reachable");
        for (status, expected) in [
            (CheckStatus::Passed, Exit::Success),
            (CheckStatus::Unsafe, Exit::Failure),
            (CheckStatus::Unknown, Exit::Failure),
            (CheckStatus::Failed, Exit::Failure),
        ] {
            let lines = [passed.clone(), line("", status, "the other finding")];
            let (exit, out, err) = on_console(|console| findings(&lines, true, console));
            assert_eq!(exit, expected, "{status:?}");
            assert!(out.ends_with("server: the other finding\n"), "{out}");
            assert_eq!(err.contains("access.strict"), expected == Exit::Failure, "{err}");
        }
    }

    #[test]
    fn the_effective_configuration_is_toml_that_names_origins_and_hides_secrets() {
        let environment = config::Environment::of(&[
            ("DATABASE_URL", "postgres://me:hunter2@127.0.0.1/shop"),
            ("ROWGATE__GRPC__REFLECTION", "false"),
        ]);
        let loaded = config::load(&config::Inputs::new(environment)).unwrap();
        let (exit, out, _) = on_console(|console| show(&loaded, console));
        assert_eq!(exit, Exit::Success);
        assert!(!out.contains("hunter2") && out.contains("# DATABASE_URL"), "{out}");
        let line = out.lines().find(|line| line.starts_with("grpc.reflection")).unwrap();
        assert!(line.starts_with("grpc.reflection = false"), "{line}");
        assert!(line.ends_with("# environment ROWGATE__GRPC__REFLECTION"), "{line}");
    }
}
