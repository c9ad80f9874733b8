//! The flags that take part in the configuration, shared by the commands that load it.

use std::path::PathBuf;

use super::command_error::Result;
use super::console::{Console, visible};
use crate::config::{self, Environment, Flag, Inputs, Loaded};

/// Flags over environment over file over defaults.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Settings {
    /// The configuration file: TOML, YAML or JSON [default: rowgate.toml in the working directory, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The address for gRPC, as `grpc.listen`; port 0 chooses a free port;
    /// `unix:/path` is a Unix socket
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// The address for operators' HTTP, as `ops.listen`
    #[arg(long, value_name = "ADDRESS")]
    ops_listen: Option<String>,
    /// The URL of the database `main`: `postgres://…`, `mysql://…` or `sqlite:path`. Other users of this
    /// machine can see a password given here; use DATABASE_URL instead
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Allow a gRPC address beyond this machine although callers are not authenticated
    #[arg(long)]
    insecure: bool,
}

impl Settings {
    /// Loads the configuration of this process, and prints its warnings.
    pub(crate) fn load(&self, console: &mut Console<'_>) -> Result<Loaded> {
        Self::loaded(&self.inputs(Environment::of_process()), console)
    }

    /// Loads the configuration for a command that opens no listener: which addresses need `--insecure` is not asked.
    pub(crate) fn load_without_listeners(&self, console: &mut Console<'_>) -> Result<Loaded> {
        let inputs = self.inputs(Environment::of_process());
        Self::loaded(&Inputs { insecure: true, ..inputs }, console)
    }

    /// As [`Self::load_without_listeners`], with a key that another flag sets.
    pub(crate) fn load_with(&self, flag: Flag, console: &mut Console<'_>) -> Result<Loaded> {
        let mut inputs = self.inputs(Environment::of_process());
        inputs.flags.push(flag);
        Self::loaded(&Inputs { insecure: true, ..inputs }, console)
    }

    /// The value of a variable of this process.
    pub(crate) fn variable(name: &str) -> Option<String> {
        Environment::of_process().get(name).map(str::to_owned)
    }

    fn loaded(inputs: &Inputs, console: &mut Console<'_>) -> Result<Loaded> {
        let loaded = config::load(inputs)?;
        for warning in &loaded.warnings {
            writeln!(console.err, "warning: {}", visible(warning))?;
        }
        Ok(loaded)
    }

    fn inputs(&self, environment: Environment) -> Inputs {
        let flags = [
            ("--listen", "grpc.listen", &self.listen),
            ("--ops-listen", "ops.listen", &self.ops_listen),
            ("--database-url", "databases.main.url", &self.database_url),
        ];
        let flag = |(name, key, value): (_, _, &Option<String>)| {
            value.clone().map(|value| Flag::new(name, key, value))
        };
        let flags = flags.into_iter().filter_map(flag).collect();
        let Self { config, insecure, .. } = self;
        Inputs { file: config.clone(), flags, insecure: *insecure, environment }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_settings_with_their_names() {
        let settings = Settings {
            listen: Some("127.0.0.1:7000".to_owned()),
            database_url: Some("sqlite:shop.db".to_owned()),
            ..Settings::default()
        };
        let loaded = config::load(&settings.inputs(Environment::of(&[]))).unwrap();
        assert_eq!(loaded.config.grpc.listen.to_string(), "127.0.0.1:7000");
        let origin = |key: &str| {
            let setting = loaded.settings.iter().find(|setting| setting.key == key).unwrap();
            setting.origin.clone()
        };
        assert_eq!(origin("grpc.listen"), "flag --listen");
        assert_eq!(origin("databases.main.url"), "flag --database-url");
        assert_eq!(origin("ops.listen"), "default");
    }

    #[test]
    fn only_insecure_opens_a_port_to_everybody() {
        let open = |insecure| {
            let listen = Some("0.0.0.0:7000".to_owned());
            let settings = Settings { listen, insecure, ..Settings::default() };
            config::load(&settings.inputs(Environment::of(&[])))
        };
        assert!(open(false).is_err());
        assert!(open(true).unwrap().config.insecure);
    }
}
