//! `rowgate claims`.

use clap::Subcommand;

use super::command_error::{CommandError, Result};
use super::config_flags::Settings;
use super::console::{Console, Exit, visible};
use crate::app;
use crate::config::{Config, Flag, Target};

const INSTALL: &str = "\
Policies of row-level security ask `rowgate.claim('tenant')`: the claims of the caller whose transaction it is, which no \
statement can forge. This command creates the schema `rowgate` with that function, and its owner, the role rowgate_claims, which \
nobody is. It also makes databases.NAME.claims.key and claims.other_key the keys that the database accepts, and removes all \
others. It may be repeated at any time, and is to be for a new key.

It needs more rights than a service: a superuser, or a role that may create roles, and schemas in the database. \
ROWGATE_ADMIN_URL, or --admin-url, is the URL of such a login; without it the configured one is used. Or let somebody else run what \
is printed: --print prints the functions, which are no secret and the same everywhere, --print-keys the keys, which are.

Examples:
  ROWGATE_ADMIN_URL=postgres://postgres@db/shop rowgate claims install shop
  rowgate claims install shop --print > migrations/0042_rowgate_claims.sql
  rowgate claims install shop --print-keys | psql -q -h db -U postgres shop

Exit status: 0 when the functions and keys are there; 1 when they cannot be created; 78 when the configuration has \
problems.";

/// The variable with the URL of a login that may install.
const ADMIN_URL: &str = "ROWGATE_ADMIN_URL";

/// The hint for a login that may not install.
const ADMIN_HINT: &str = "Give the URL of a superuser, or of a role that may create roles and schemas, with --admin-url or ROWGATE_ADMIN_URL.";

/// Prepare databases for claims of callers and row-level security
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create the functions of claims in a database, or bring them and their keys up to date
    #[command(after_help = INSTALL)]
    Install(InstallArgs),
}

#[derive(Debug, clap::Args)]
struct InstallArgs {
    /// The logical name of the database
    database: String,
    #[command(flatten)]
    settings: Settings,
    /// The URL of a login that may create roles and schemas, on the same server. Other users of this machine can see a
    /// password given here; use ROWGATE_ADMIN_URL instead
    #[arg(long, value_name = "URL", conflicts_with_all = ["print", "print_keys"])]
    admin_url: Option<String>,
    /// Print the SQL of the functions without connecting
    #[arg(long)]
    print: bool,
    /// Print the SQL of the keys, which is as secret as they are, without connecting
    #[arg(long)]
    print_keys: bool,
}

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<Exit> {
    let Command::Install(args) = &args.command;
    if args.print {
        console.out.write_all(app::claims_sql().as_bytes())?;
        if !args.print_keys {
            return Ok(Exit::Success);
        }
    }
    let name = &args.database;
    if args.print_keys {
        let config = args.settings.load_without_listeners(console)?.config;
        check(&config, name)?;
        console.out.write_all(app::claim_keys_sql(&config, name)?.as_bytes())?;
        return Ok(Exit::Success);
    }
    let config = args.settings.load_without_listeners(console)?.config;
    check(&config, name)?;
    let flag = args.admin_url.clone().map(|url| ("--admin-url", url));
    let flag = flag.or_else(|| Settings::variable(ADMIN_URL).map(|url| (ADMIN_URL, url)));
    let flag = flag.map(|(origin, url)| Flag::new(origin, format!("databases.{name}.url"), url));
    let is_admin = flag.is_some();
    let config = match flag {
        Some(flag) => args.settings.load_with(flag, console)?.config,
        None => config,
    };
    let keys = app::install_claims(&config, name).map_err(|error| {
        let lacks_right = error.report().is_some_and(|report| report.sqlstate == "42501");
        if is_admin || !lacks_right { error } else { error.with_hint(ADMIN_HINT) }
    })?;
    let keys = if keys == 1 { "1 key".to_owned() } else { format!("{keys} keys") };
    let text =
        format!("database {name}: claims are installed in the schema rowgate, {keys} accepted");
    writeln!(console.out, "{}", visible(&text))?;
    Ok(Exit::Success)
}

/// Checks that a database can have claims, and that its key is configured.
fn check(config: &Config, name: &str) -> Result<()> {
    let Some(database) = config.databases.get(name) else {
        // Its error tells of the others.
        return Ok(app::claim_keys_sql(config, name).map(|_sql| ())?);
    };
    let why = match (&database.target, &database.claims.key) {
        (Target::Sqlite(_), _) => "SQLite has no row-level security",
        (Target::Mysql(_), _) => "MySQL has no row-level security",
        (Target::Postgres(_), None) => {
            "databases.NAME.claims.key is not set: set it in the configuration of the server, as of openssl rand -hex 32"
        }
        (Target::Postgres(_), Some(_)) => return Ok(()),
    };
    Err(CommandError::Config(why.replace("NAME", name)))
}
