//! `rowgate serve`.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::command_error::{CommandError, Result};
use super::config_flags::Settings;
use super::console::{Console, Exit};
use crate::app::App;
use crate::config::{ClientAuth, Config, Database, ListenAddress, Server, Target, TargetSession};
use crate::telemetry::Telemetry;

const EXAMPLES: &str = "\
Every setting can be in a file, in the environment (ROWGATE__GRPC__LISTEN), and some in a flag; the later \
has precedence. `rowgate config example` prints all settings, `rowgate config show` those in effect and their \
origins.

Examples:
  rowgate serve                                        SQLite, in rowgate.db
  rowgate serve --database-url sqlite:/var/lib/shop.db
  DATABASE_URL=postgres://me@db/shop rowgate serve
  DATABASE_URL=mysql://me@db/shop rowgate serve        MySQL or MariaDB
  rowgate serve --config /etc/rowgate.toml --listen 127.0.0.1:7000

SIGTERM, SIGINT or SIGHUP shuts it down, after the calls in progress; a second one cancels them. Exit status: 0 after a shutdown, 1 when it cannot \
start, 78 when the configuration has problems.";

/// Serve databases over gRPC
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: Settings,
}

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<Exit> {
    let config = args.settings.load(console)?.config;
    if let Some(warning) = exposure(&config) {
        writeln!(console.err, "warning: {warning}")?;
    }
    let telemetry = Telemetry::start(&config.telemetry);
    let telemetry = telemetry.map_err(|error| CommandError::Config(error.to_string()))?;
    let databases = describe_databases(&config);
    let example = Example::of(&config);
    let app = App::start(config, &telemetry)?;
    let program = program(std::env::args_os().next());
    let addresses = (app.grpc_address(), app.ops_address());
    let banner = banner(&program, addresses, &example, &databases);
    // A closed standard output does not prevent serving.
    if let Err(error) = console.out.write_all(banner.as_bytes()).and(console.out.flush()) {
        tracing::warn!(%error, "standard output cannot be written");
    }
    app.run_until_signal();
    Ok(Exit::Success)
}

/// Returns the warning of a listener that `--insecure` allowed.
fn exposure(config: &Config) -> Option<String> {
    let listener = &config.grpc.listen;
    let warning = match (config.callers.is_empty(), config.tls.cert.is_some()) {
        _ if listener.is_local() => return None,
        (false, true) => return None,
        (true, _) => format!(
            "anyone who reaches {listener} may query the databases: callers are not authenticated"
        ),
        (false, false) => {
            format!("tokens and rows can be read on their way to {listener}: it is not encrypted")
        }
    };
    Some(warning)
}

/// Returns the name by which a shell starts this program: `cargo run` puts nothing on the PATH.
fn program(started_as: Option<OsString>) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let typed = started_as.and_then(|name| name.into_string().ok());
    let pasted = typed.filter(|name| !name.is_empty() && name.chars().all(plain));
    pasted.unwrap_or_else(|| "rowgate".to_owned())
}

/// The calls that the banner shows: what is not known here has a name in capitals.
#[derive(Debug, Default)]
struct Example {
    is_encrypted: bool,
    /// The flags of a caller, each with a space before it.
    flags: String,
    /// True if grpcurl finds the methods by itself.
    has_reflection: bool,
}

impl Example {
    fn of(config: &Config) -> Self {
        let Config { tls, callers, .. } = config;
        let is_encrypted = tls.cert.is_some();
        let mut flags = String::new();
        if is_encrypted {
            flags.push_str(" --ca CA_FILE");
        }
        let has_tokens = config.access.tokens.is_some() || config.jwt.keys.is_some();
        let is_asked = tls.client_auth != ClientAuth::Off;
        let is_identity = callers.values().any(|caller| !caller.certificates.is_empty());
        let shows_certificate = is_asked && is_identity && !has_tokens;
        if tls.client_auth == ClientAuth::Required || shows_certificate {
            flags.push_str(" --cert CERT_FILE --cert-key KEY_FILE");
        }
        // The user at the other end of a Unix socket is an identity, and two are refused.
        let is_socket = config.grpc.listen.tcp().is_none();
        let is_user = is_socket && callers.values().any(|caller| !caller.uids.is_empty());
        if !callers.is_empty() && has_tokens && !is_user {
            flags.push_str(" --token-file TOKEN_FILE");
        }
        if !callers.is_empty() {
            flags.push_str(" --read-only");
        }
        let has_reflection = config.grpc.reflection && callers.is_empty() && !is_encrypted;
        Self { is_encrypted, flags, has_reflection }
    }
}

/// Returns the addresses and databases of the server, and commands to try.
fn banner(
    program: &str,
    (grpc, ops): (&ListenAddress, SocketAddr),
    example: &Example,
    databases: &[String],
) -> String {
    let mut text = format!("rowgate {}\n\n", env!("CARGO_PKG_VERSION"));
    let mut line = |name: &str, value: &str| {
        writeln!(text, "  {name:<10} {value}").expect("writing to a String never fails");
    };
    line("gRPC", &grpc.to_string());
    line("operators", &format!("http://{ops}/"));
    for database in databases {
        line("database", database);
    }
    let [address, target] = match grpc {
        ListenAddress::Tcp(address) => {
            let address = reachable(*address);
            let url = if example.is_encrypted {
                // A client compares it with the names in the certificate.
                format!("https://HOST:{}", address.port())
            } else {
                format!("http://{address}")
            };
            [url, address.to_string()]
        }
        ListenAddress::Unix(path) => [grpc.to_string(), format!("-unix {}", path.display())],
    };
    let flags = &example.flags;
    text.push_str("\nTry it:\n");
    text.push_str(&format!("  {program} query --address {address}{flags} 'select 1 as one'\n"));
    if example.has_reflection {
        text.push_str(&format!(
            "  grpcurl -plaintext -d '{{\"sql\":\"select 1 as one\"}}' {target} \
             rowgate.v1.DatabaseService/Query\n"
        ));
    }
    text.push('\n');
    text
}

/// Returns the address at which a client on this machine reaches a listener.
fn reachable(listener: SocketAddr) -> SocketAddr {
    let here = match listener {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
        SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::LOCALHOST),
    };
    let ip = if listener.ip().is_unspecified() { here } else { listener.ip() };
    SocketAddr::new(ip, listener.port())
}

/// Describes each database on a line; marks the default one of several.
fn describe_databases(config: &Config) -> Vec<String> {
    let several = config.databases.len() > 1;
    let describe = |(name, database): (&String, &Database)| {
        let mark = if several && *name == config.default_database { " (default)" } else { "" };
        format!("{name}{mark}: {}", describe(&database.target))
    };
    config.databases.iter().map(describe).collect()
}

fn describe(target: &Target) -> String {
    match target {
        Target::Sqlite(target) => {
            format!("embedded SQLite in {}: not for production", target.path.display())
        }
        Target::Postgres(target) => {
            let servers = on_servers(&target.servers, target.session);
            format!("PostgreSQL {} on {servers} as {}", target.dbname, target.user)
        }
        Target::Mysql(target) => {
            let servers = on_servers(&target.servers, target.session);
            let dbname = target.dbname.as_deref().unwrap_or("without a schema");
            format!("MySQL {dbname} on {servers} as {}", target.user)
        }
    }
}

fn on_servers(servers: &[Server], session: TargetSession) -> String {
    let servers = servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if session == TargetSession::Any { servers } else { format!("{servers} ({session})") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_banner_has_lines_to_paste() {
        let databases = ["main: embedded SQLite in rowgate.db: not for production".to_owned()];
        let grpc = ListenAddress::Tcp(([0, 0, 0, 0], 7000).into());
        let ops = ([127, 0, 0, 1], 9464).into();
        let open = Example { has_reflection: true, ..Example::default() };
        let text = banner("target/debug/rowgate", (&grpc, ops), &open, &databases);
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
        let socket = ListenAddress::Unix("/run/rowgate.sock".into());
        let text = banner("rowgate", (&socket, ops), &open, &databases);
        for line in
            ["--address unix:/run/rowgate.sock 'select", "' -unix /run/rowgate.sock rowgate.v1."]
        {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
    }

    #[test]
    fn the_banner_shows_what_a_caller_needs_and_nothing_that_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("pem").display().to_string();
        std::fs::write(&file, "-----BEGIN any").unwrap();
        let tls = [("grpc.tls.cert", &*file), ("grpc.tls.key", &file)];
        let checked = [("grpc.tls.client_ca", &*file)];
        let caller = [("callers.shop.databases", "main")];
        let named = [("callers.shop.certificates", "shop.example")];
        let tokens = [("access.tokens", "tokens")];
        let ops = ([127, 0, 0, 1], 9464).into();
        type Case<'a> = (Vec<(&'a str, &'a str)>, &'a str, bool);
        let cases: [Case<'_>; 6] = [
            (vec![], "http://127.0.0.1:50051 'select", true),
            (vec![("grpc.reflection", "false")], "http://127.0.0.1:50051 'select", false),
            (tls.to_vec(), "https://HOST:50051 --ca CA_FILE 'select", false),
            (
                [&caller[..], &tokens].concat(),
                "http://127.0.0.1:50051 --token-file TOKEN_FILE --read-only 'select",
                false,
            ),
            (
                [&tls[..], &caller, &tokens].concat(),
                "https://HOST:50051 --ca CA_FILE --token-file TOKEN_FILE --read-only 'select",
                false,
            ),
            (
                [&tls[..], &checked, &named].concat(),
                "https://HOST:50051 --ca CA_FILE --cert CERT_FILE --cert-key KEY_FILE --read-only 'select",
                false,
            ),
        ];
        for (pairs, line, has_grpcurl) in cases {
            let config = config::load_from(&pairs).unwrap();
            let text = banner("rowgate", (&config.grpc.listen, ops), &Example::of(&config), &[]);
            assert!(text.contains(&format!("  rowgate query --address {line}")), "{text}");
            assert_eq!(text.contains("grpcurl"), has_grpcurl, "{text}");
        }
    }

    #[test]
    fn a_listener_beyond_this_machine_gets_a_warning() {
        let warning = |listen: &str, caller: &[(&str, &str)]| {
            let pairs = [&[("grpc.listen", listen)], caller].concat();
            let mut inputs = config::Inputs::new(config::Environment::of(&[]));
            inputs.insecure = true;
            let flag = |(key, value): &(&str, &str)| config::Flag::new("(given)", *key, *value);
            inputs.flags = pairs.iter().map(flag).collect();
            exposure(&config::load(&inputs).unwrap().config)
        };
        assert_eq!(warning("127.0.0.1:7000", &[]), None);
        let open = warning("0.0.0.0:7000", &[]).unwrap();
        assert!(open.contains("0.0.0.0:7000 may query the databases"), "{open}");
        let caller = [("callers.shop.databases", "main")];
        let plain = warning("0.0.0.0:7000", &caller).unwrap();
        assert!(plain.contains("not encrypted") && !plain.contains("may query"), "{plain}");
    }

    #[test]
    fn the_program_is_named_as_it_was_started_unless_that_needs_quotes() {
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
