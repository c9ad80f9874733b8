//! `rowgate secret`

use std::io::{self, IsTerminal as _, Read as _};

use clap::Subcommand;

use super::Exit;
use super::config_flags::report;
use super::console::Console;
use crate::config::{self, Environment, secret};

/// The largest secret, in bytes: a certificate with its chain is far smaller.
const MAX_SECRET: u64 = 1 << 20;

const KEYGEN: &str = "\
The server finds its keys in ROWGATE_SECRET_KEY, or in the file that ROWGATE_SECRET_KEY_FILE names; \
several are separated by commas: the first encrypts, all decrypt. So a new key is put first, and the \
old one removed once nothing needs it.

Example:
  rowgate secret keygen > rowgate.key";

const ENCRYPT: &str = "\
One line break at the end of the input is not part of the secret. The output may stand wherever the \
configuration takes text.

Example:
  printf %s \"$PASSWORD\" | ROWGATE_SECRET_KEY_FILE=rowgate.key rowgate secret encrypt";

/// Make keys, and encrypt secrets for configuration files
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Command {
    /// Print a new Fernet key
    #[command(after_help = KEYGEN)]
    Keygen,
    /// Encrypt standard input with the key in ROWGATE_SECRET_KEY or ROWGATE_SECRET_KEY_FILE
    #[command(after_help = ENCRYPT)]
    Encrypt,
}

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> io::Result<Exit> {
    match args.command {
        Command::Keygen => {
            writeln!(console.out, "{}", secret::keygen())?;
            Ok(Exit::Success)
        }
        Command::Encrypt => {
            let environment = Environment::of_process();
            if io::stdin().is_terminal() {
                writeln!(console.err, "type the secret, then Enter and Ctrl-D; it is shown")?;
            }
            encrypt(&environment, &mut io::stdin().lock(), console)
        }
    }
}

fn encrypt(
    environment: &Environment,
    input: &mut dyn io::Read,
    console: &mut Console<'_>,
) -> io::Result<Exit> {
    // First, so that nobody types a secret in vain.
    let keyring = match config::keyring(environment) {
        Ok(keyring) => keyring,
        Err(problems) => return report(&problems, console),
    };
    let mut plain = String::new();
    match input.take(MAX_SECRET + 1).read_to_string(&mut plain) {
        Ok(size) if u64::try_from(size).is_ok_and(|size| size > MAX_SECRET) => {
            return console.fail(&"the secret is larger than 1 MiB");
        }
        Ok(_size) => {}
        Err(error) => return console.fail(&format!("standard input cannot be read: {error}")),
    }
    let plain = plain.strip_suffix('\n').unwrap_or(&plain);
    let plain = plain.strip_suffix('\r').unwrap_or(plain);
    if plain.is_empty() {
        return console.fail(&"standard input is empty: it is to hold the secret");
    }
    writeln!(console.out, "{}", keyring.encrypt(plain))?;
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use super::super::console::tests::on_console;
    use super::*;

    fn encrypted(key: &str, input: &str) -> (Exit, String, String) {
        let environment = Environment::of(&[("ROWGATE_SECRET_KEY", key)]);
        on_console(|console| encrypt(&environment, &mut input.as_bytes(), console))
    }

    #[test]
    fn a_secret_survives_without_its_line_break() {
        let key = secret::keygen();
        let (exit, out, err) = encrypted(&key, "s3cret pass\n");
        assert_eq!((exit, err.as_str()), (Exit::Success, ""));
        assert!(out.starts_with("fernet:gAAAA") && out.ends_with('\n'), "{out}");
        let plain = secret::Keyring::parse(&key).unwrap().decrypt(out.trim_end()).unwrap();
        assert_eq!(plain.expose(), "s3cret pass");
    }

    #[test]
    fn a_key_that_is_none_is_a_problem_of_the_configuration() {
        let (exit, out, err) = encrypted("not a key", "s3cret");
        assert_eq!((exit, out.as_str()), (Exit::Config, ""));
        assert!(err.contains("ROWGATE_SECRET_KEY") && !err.contains("not a key"), "{err}");
    }

    #[test]
    fn an_empty_secret_is_refused() {
        let (exit, out, err) = encrypted(&secret::keygen(), "\n");
        assert_eq!((exit, out.as_str()), (Exit::Failure, ""));
        assert!(err.starts_with("error: standard input is empty"), "{err}");
    }
}
