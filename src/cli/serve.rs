//! `rowgate serve`

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Exit;
use super::config_flags;
use super::config_flags::Settings;
use super::console::{Console, one_line};
use crate::app::App;
use crate::config::{Config, Target, TargetSession};
use crate::telemetry::Telemetry;

const EXAMPLES: &str = "\
Every setting can be in a file, in the environment (ROWGATE__GRPC__LISTEN) and, where there is one, \
a flag; the later wins. `rowgate config example` prints all of them, `rowgate config show` what is in \
effect and where it comes from.

Examples:
  rowgate serve                                        SQLite, in rowgate.db
  rowgate serve --database-url sqlite:/var/lib/shop.db
  DATABASE_URL=postgres://me@db/shop rowgate serve
  rowgate serve --config /etc/rowgate.toml --listen 127.0.0.1:7000

It ends at SIGTERM or SIGINT, after the calls in progress. Exit status: 0 after that, 1 when it cannot \
start, 78 when the configuration has problems.";

/// Serve databases over gRPC
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: Settings,
}

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> io::Result<Exit> {
    let loaded = match args.settings.load() {
        Ok(loaded) => loaded,
        Err(problems) => return config_flags::report(&problems, console),
    };
    config_flags::warn(&loaded, console)?;
    let config = loaded.config;
    if let Some(warning) = exposure(config.grpc.listen) {
        writeln!(console.err, "warning: {warning}")?;
    }
    let telemetry = match Telemetry::start(&config.telemetry) {
        Ok(telemetry) => telemetry,
        Err(error) => {
            console.fail(&error)?;
            return Ok(Exit::Config);
        }
    };
    let databases = describe_databases(&config);
    match App::start(config, &telemetry) {
        Ok(app) => {
            let program = program(std::env::args_os().next());
            let banner = banner(&program, (app.grpc_address(), app.ops_address()), &databases);
            // Whoever started it may have closed its end: no reason not to serve.
            if let Err(error) = console.out.write_all(banner.as_bytes()).and(console.flush()) {
                tracing::warn!(%error, "standard output cannot be written");
            }
            app.run_until_signal();
            Ok(Exit::Success)
        }
        Err(error) => console.fail(&one_line(&error)),
    }
}

/// What `--insecure` allowed: to be seen wherever the server's output is kept.
fn exposure(listener: SocketAddr) -> Option<String> {
    let open = !listener.ip().is_loopback();
    open.then(|| {
        format!(
            "anyone who reaches {listener} may query the databases: callers are not authenticated"
        )
    })
}

/// How this program was started, so that the line to paste starts it, too: `cargo run` puts nothing on
/// the PATH.
fn program(started_as: Option<OsString>) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let typed = started_as.and_then(|name| name.into_string().ok());
    let pasted = typed.filter(|name| !name.is_empty() && name.chars().all(plain));
    pasted.unwrap_or_else(|| "rowgate".to_owned())
}

/// What people want to know once it serves.
fn banner(program: &str, (grpc, ops): (SocketAddr, SocketAddr), databases: &[String]) -> String {
    let mut text = format!("rowgate {}\n\n", env!("CARGO_PKG_VERSION"));
    let mut line = |name: &str, value: &str| {
        writeln!(text, "  {name:<10} {value}").expect("a String takes everything");
    };
    line("gRPC", &grpc.to_string());
    line("operators", &format!("http://{ops}/"));
    for database in databases {
        line("database", database);
    }
    let address = reachable(grpc);
    format!(
        "{text}\nTry it:\n  {program} query --address http://{address} 'select 1 as one'\n  grpcurl -plaintext -d \
         '{{\"sql\":\"select 1 as one\"}}' {address} rowgate.v1.DatabaseService/Query\n\n"
    )
}

/// Where a client on this machine reaches a listener: one that listens everywhere has no address to
/// connect to.
fn reachable(listener: SocketAddr) -> SocketAddr {
    let here = match listener {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
        SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::LOCALHOST),
    };
    let ip = if listener.ip().is_unspecified() { here } else { listener.ip() };
    SocketAddr::new(ip, listener.port())
}

/// One line a database, the default one marked when there are several.
fn describe_databases(config: &Config) -> Vec<String> {
    let several = config.databases.len() > 1;
    let line = |(name, target): (&String, &Target)| {
        let place = describe(target);
        let mark = if several && *name == config.default_database { " (default)" } else { "" };
        format!("{name}{mark}: {place}")
    };
    config.databases.iter().map(|(name, database)| line((name, &database.target))).collect()
}

fn describe(target: &Target) -> String {
    match target {
        Target::Sqlite(target) => {
            format!("embedded SQLite in {}: not for production", target.path.display())
        }
        Target::Postgres(target) => {
            let servers: Vec<_> = target.servers.iter().map(ToString::to_string).collect();
            let which = match target.session == TargetSession::Any {
                true => String::new(),
                false => format!(" ({})", target.session.name()),
            };
            let servers = servers.join(", ");
            format!("PostgreSQL {} on {servers}{which} as {}", target.dbname, target.user)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_banner_has_lines_to_paste() {
        let databases = ["main: embedded SQLite in rowgate.db: not for production".to_owned()];
        let addresses = (([0, 0, 0, 0], 7000).into(), ([127, 0, 0, 1], 9464).into());
        let text = banner("target/debug/rowgate", addresses, &databases);
        for line in [
            "  gRPC       0.0.0.0:7000\n",
            "  operators  http://127.0.0.1:9464/\n",
            "  database   main: embedded SQLite in rowgate.db: not for production\n",
            "  target/debug/rowgate query --address http://127.0.0.1:7000 'select 1 as one'\n",
            "  grpcurl -plaintext -d '{\"sql\":\"select 1 as one\"}' 127.0.0.1:7000 \
             rowgate.v1.DatabaseService/Query\n",
        ] {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
    }

    #[test]
    fn a_listener_beyond_this_machine_is_warned_of() {
        assert_eq!(exposure(([127, 0, 0, 1], 7000).into()), None);
        let warning = exposure(([0, 0, 0, 0], 7000).into()).unwrap();
        assert!(warning.contains("0.0.0.0:7000 may query the databases"), "{warning}");
    }

    #[test]
    fn the_program_is_named_as_it_was_started_if_a_shell_takes_that() {
        let cases = [
            (Some("target/release/rowgate"), "target/release/rowgate"),
            (Some("rowgate"), "rowgate"),
            (Some("/my tools/rowgate"), "rowgate"),
            (Some(""), "rowgate"),
            (None, "rowgate"),
        ];
        for (started_as, named) in cases {
            assert_eq!(program(started_as.map(OsString::from)), named);
        }
    }

    #[test]
    fn databases_are_described_without_their_passwords() {
        let config = config::load_from(&[
            ("databases.main.url", "postgres://me:hunter2@[::1]:5433/shop"),
            ("databases.local.url", "sqlite:local.db"),
            ("databases.far.url", "postgres://me:hunter2@a,b:5433/shop"),
        ])
        .unwrap();
        assert_eq!(
            describe_databases(&config),
            [
                "far: PostgreSQL shop on a:5432, b:5433 (read-write) as me",
                "local: embedded SQLite in local.db: not for production",
                "main (default): PostgreSQL shop on [::1]:5433 as me",
            ]
        );
    }
}
