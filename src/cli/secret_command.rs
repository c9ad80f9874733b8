//! `rowgate secret`.

use std::io::{self, IsTerminal as _, Read as _};

use clap::Subcommand;

use super::command_error::{CommandError, Result};
use super::console::{Console, Exit};
use crate::config::{self, Environment, secret};
use crate::wire_size::widen;

/// The size limit of a secret, in bytes.
const MAX_SECRET: u64 = 1 << 20;

const KEYGEN: &str = "\
The server reads its keys from ROWGATE_SECRET_KEY, or from the file that ROWGATE_SECRET_KEY_FILE names; \
several are separated by commas: the first encrypts, all decrypt. To rotate keys, put the new key first, and \
remove the old one when no secret needs it.

Example:
  rowgate secret keygen > rowgate.key";

const ENCRYPT: &str = "\
One line break at the end of the input is not part of the secret. The output may be used wherever the \
configuration takes text.

Example:
  printf %s \"$PASSWORD\" | ROWGATE_SECRET_KEY_FILE=rowgate.key rowgate secret encrypt";

/// Generate keys, and encrypt secrets for configuration files
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

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<Exit> {
    match args.command {
        Command::Keygen => writeln!(console.out, "{}", secret::keygen())?,
        Command::Encrypt => {
            if io::stdin().is_terminal() {
                writeln!(console.err, "type the secret, then Enter and Ctrl-D; it is shown")?;
            }
            return encrypt(&Environment::of_process(), &mut io::stdin().lock(), console);
        }
    }
    Ok(Exit::Success)
}

fn encrypt(
    environment: &Environment,
    input: &mut dyn io::Read,
    console: &mut Console<'_>,
) -> Result<Exit> {
    let failed = |why: &str| Err(CommandError::Failed(why.to_owned()));
    // First, so that nobody types a secret in vain.
    let keyring = config::keyring(environment)?;
    let mut plain = String::new();
    match input.take(MAX_SECRET + 1).read_to_string(&mut plain) {
        Err(error) => return failed(&format!("standard input cannot be read: {error}")),
        Ok(size) if widen(size) > MAX_SECRET => return failed("the secret is larger than 1 MiB"),
        Ok(_size) => {}
    }
    let plain = plain.strip_suffix('\n').unwrap_or(&plain);
    let plain = plain.strip_suffix('\r').unwrap_or(plain);
    if plain.is_empty() {
        return failed("standard input is empty: it must hold the secret");
    }
    writeln!(console.out, "{}", keyring.encrypt(plain))?;
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::on_console;

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
    fn an_invalid_key_is_a_problem_of_the_configuration() {
        let (exit, out, err) = encrypted("not a key", "s3cret");
        assert_eq!((exit, out.as_str()), (Exit::Config, ""));
        assert!(err.contains("ROWGATE_SECRET_KEY") && !err.contains("not a key"), "{err}");
    }

    #[test]
    fn an_empty_secret_is_rejected() {
        let (exit, out, err) = encrypted(&secret::keygen(), "\n");
        assert_eq!((exit, out.as_str()), (Exit::Failure, ""));
        assert!(err.starts_with("error: standard input is empty"), "{err}");
    }
}
