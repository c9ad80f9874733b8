//! `rowgate secret`.

use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::command_error::{CommandError, Result};
use super::console::{Console, Exit, counted};
use crate::config::secret::{Keyring, Reencrypted};
use crate::config::{self, Environment, secret};
use crate::wire_size::widen;

/// The name of standard input in messages.
const STDIN: &str = "standard input";

/// The size limit of a secret or of a file with secrets, in bytes.
const MAX_SECRET: u64 = 1 << 20;

const KEYGEN: &str = "\
The server reads its keys from ROWGATE_SECRET_KEY, or from the file that ROWGATE_SECRET_KEY_FILE names; \
several are separated by commas: the first encrypts, all decrypt. To rotate keys, put the new key first, encrypt \
the secrets again with `rowgate secret reencrypt`, and remove the old key.

Example:
  rowgate secret keygen > rowgate.key";

const ENCRYPT: &str = "\
One line break at the end of the input is not part of the secret. The output may be used wherever the \
configuration takes text.

Example:
  printf %s \"$PASSWORD\" | ROWGATE_SECRET_KEY_FILE=rowgate.key rowgate secret encrypt";

const REENCRYPT: &str = "\
Each `fernet:…` in the file is decrypted with any of the keys and encrypted with the first one. The file is \
replaced in one step, and only if all of them can be decrypted; everything else in it stays as it is.

Examples:
  ROWGATE_SECRET_KEY=\"$NEW,$OLD\" rowgate secret reencrypt rowgate.toml
  printf %s \"$VALUE\" | ROWGATE_SECRET_KEY=\"$NEW,$OLD\" rowgate secret reencrypt";

/// Generate keys, and encrypt secrets for configuration files
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a new Fernet key
    #[command(after_help = KEYGEN)]
    Keygen,
    /// Encrypt standard input with the key in ROWGATE_SECRET_KEY or ROWGATE_SECRET_KEY_FILE
    #[command(after_help = ENCRYPT)]
    Encrypt,
    /// Encrypt the secrets of a file, or of standard input, again: with the first key
    #[command(after_help = REENCRYPT)]
    Reencrypt {
        /// The file, which is changed; without it, standard input is read and the result is printed
        file: Option<PathBuf>,
    },
}

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<Exit> {
    match &args.command {
        Command::Keygen => writeln!(console.out, "{}", secret::keygen())?,
        Command::Encrypt => {
            if io::stdin().is_terminal() {
                writeln!(console.err, "type the secret, then Enter and Ctrl-D; it is shown")?;
            }
            return encrypt(&Environment::of_process(), &mut io::stdin().lock(), console);
        }
        Command::Reencrypt { file } => {
            let keyring = config::keyring(&Environment::of_process())?;
            match file {
                Some(file) => reencrypt_file(&keyring, file, console)?,
                None => {
                    let text =
                        reencrypted(&keyring, &read(&mut io::stdin().lock(), STDIN)?, STDIN)?;
                    console.out.write_all(text.text.as_bytes())?;
                }
            }
        }
    }
    Ok(Exit::Success)
}

fn encrypt(
    environment: &Environment,
    input: &mut dyn io::Read,
    console: &mut Console<'_>,
) -> Result<Exit> {
    // First, so that nobody types a secret in vain.
    let keyring = config::keyring(environment)?;
    let plain = read(input, STDIN)?;
    let plain = plain.strip_suffix('\n').unwrap_or(&plain);
    let plain = plain.strip_suffix('\r').unwrap_or(plain);
    if plain.is_empty() {
        return Err(failed(STDIN, "is empty: it must hold the secret"));
    }
    writeln!(console.out, "{}", keyring.encrypt(plain))?;
    Ok(Exit::Success)
}

fn failed(name: &str, why: &str) -> CommandError {
    CommandError::Failed(format!("{name} {why}"))
}

fn read(input: &mut dyn io::Read, name: &str) -> Result<String> {
    let mut text = String::new();
    match input.take(MAX_SECRET + 1).read_to_string(&mut text) {
        Err(error) => Err(failed(name, &format!("cannot be read: {error}"))),
        Ok(size) if widen(size) > MAX_SECRET => Err(failed(name, "is larger than 1 MiB")),
        Ok(_size) => Ok(text),
    }
}

/// Encrypts the tokens of a text again; a single token may lack its `fernet:`, as in [`Keyring::decrypt`].
fn reencrypted(keyring: &Keyring, text: &str, name: &str) -> Result<Reencrypted> {
    let bare =
        text.trim_start().starts_with("gAAAA").then(|| format!("fernet:{}", text.trim_start()));
    let changed = keyring.reencrypt(bare.as_deref().unwrap_or(text));
    match changed.map_err(|why| CommandError::Config(format!("{name}: {why}")))? {
        Reencrypted { tokens: 0, .. } => {
            Err(failed(name, "has no encrypted value: those start with fernet:"))
        }
        changed => Ok(changed),
    }
}

/// Replaces a file by a new one: a server that starts meanwhile reads the old or the new text, never a part.
fn reencrypt_file(keyring: &Keyring, file: &Path, console: &mut Console<'_>) -> Result<()> {
    let name = file.display().to_string();
    let cannot =
        |what: &str, error: &io::Error| failed(&name, &format!("cannot be {what}: {error}"));
    // A link stays one.
    let path = fs::canonicalize(file).map_err(|error| cannot("read", &error))?;
    let mut old = File::open(&path).map_err(|error| cannot("read", &error))?;
    let changed = reencrypted(keyring, &read(&mut old, &name)?, &name)?;
    let permissions = old.metadata().map_err(|error| cannot("read", &error))?.permissions();
    let mut beside = path.clone().into_os_string();
    beside.push(format!(".{}.new", std::process::id()));
    let write = || -> io::Result<()> {
        let mut new = File::options().write(true).create_new(true).mode(0o600).open(&beside)?;
        new.set_permissions(permissions)?;
        new.write_all(changed.text.as_bytes())?;
        new.sync_all()?;
        fs::rename(&beside, &path)
    };
    // What is left of a failure has secrets; there is nothing left if it could not be created.
    write()
        .inspect_err(|_error| fs::remove_file(&beside).unwrap_or(()))
        .map_err(|error| cannot("replaced", &error))?;
    writeln!(
        console.out,
        "{name}: {} encrypted with the first key",
        counted(widen(changed.tokens), "value")
    )?;
    Ok(())
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
