//! `rowgate config`

use std::io;

use clap::Subcommand;

use super::config_flags;
use super::config_flags::Settings;
use super::config_flags::report;
use super::console::{Console, Exit, counted, visible};
use crate::app::{self, CheckStatus, Finding};
use crate::config::{self, Config, Loaded};

const CHECK: &str = "\
It says all that is wrong at once. Unless told not to, it then connects to each database, and compares \
the connections that the pools may open with what the server allows.

Exit status: 0 when all is well; 78 when the configuration has problems; 1 when a database does not \
answer, or has no room for the pools.";

/// Show, check and explain the configuration
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a configuration file with every key, its default and what it does
    Example,
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

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> io::Result<Exit> {
    let settings = match &args.command {
        Command::Example => {
            console.out.write_all(config::example().as_bytes())?;
            return Ok(Exit::Success);
        }
        Command::Show(settings) | Command::Check { settings, .. } => settings,
    };
    let loaded = match settings.load() {
        Ok(loaded) => loaded,
        Err(problems) => return report(&problems, console),
    };
    config_flags::warn(&loaded, console)?;
    match &args.command {
        Command::Example | Command::Show(_) => show(&loaded, console),
        Command::Check { no_connect, .. } => check(&loaded.config, *no_connect, console),
    }
}

/// Each line is valid TOML, so that the output can be the start of a file.
fn show(loaded: &Loaded, console: &mut Console<'_>) -> io::Result<Exit> {
    for setting in &loaded.settings {
        let assignment = format!("{} = {}", setting.key, setting.value);
        writeln!(console.out, "{}", visible(&format!("{assignment:<48} # {}", setting.origin)))?;
    }
    Ok(Exit::Success)
}

fn check(config: &Config, no_connect: bool, console: &mut Console<'_>) -> io::Result<Exit> {
    let databases = u64::try_from(config.databases.len()).unwrap_or(u64::MAX);
    writeln!(console.out, "ok      configuration, {}", counted(databases, "database"))?;
    if no_connect {
        return Ok(Exit::Success);
    }
    // What follows takes time: nobody should stare at an empty screen.
    console.flush()?;
    match app::check(config) {
        Ok(lines) => findings(&lines, console),
        Err(error) => console.fail(&error),
    }
}

fn findings(lines: &[Finding], console: &mut Console<'_>) -> io::Result<Exit> {
    for line in lines {
        let word = match line.status {
            CheckStatus::Passed => "ok",
            CheckStatus::Unknown => "unclear",
            CheckStatus::Failed => "failed",
        };
        let text = visible(&format!("database {}: {}", line.database, line.text));
        writeln!(console.out, "{word:<7} {text}")?;
    }
    let failed = lines.iter().any(|line| line.status == CheckStatus::Failed);
    Ok(if failed { Exit::Failure } else { Exit::Success })
}

#[cfg(test)]
mod tests {
    use super::super::tests::on_console;
    use super::*;

    fn line(database: &str, status: CheckStatus, text: &str) -> Finding {
        Finding { database: database.to_owned(), status, text: text.to_owned() }
    }

    #[test]
    fn one_failed_finding_fails_the_check() {
        let mut lines = vec![
            line("main", CheckStatus::Passed, "answers"),
            line("main", CheckStatus::Unknown, "its connection limits are unknown"),
        ];
        let (exit, out, _) = on_console(|console| findings(&lines, console));
        assert_eq!(exit, Exit::Success);
        assert_eq!(
            out,
            "ok      database main: answers\nunclear database main: its connection limits are unknown\n"
        );
        lines.push(line("reports", CheckStatus::Failed, "cannot connect"));
        let (exit, out, _) = on_console(|console| findings(&lines, console));
        assert_eq!(exit, Exit::Failure);
        assert!(out.ends_with("failed  database reports: cannot connect\n"), "{out}");
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
