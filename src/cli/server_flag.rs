//! The server that a client command calls.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::runtime::Builder;

use super::command_error::{CommandError, Result};
use crate::config::Environment;
use crate::grpc::client::{Address, CallError, Client, Security};

/// The variable of the caller's token.
const TOKEN: &str = "ROWGATE_TOKEN";

/// The variable of the file with the authorities that are trusted.
const CA: &str = "ROWGATE_CA";

/// The size limit of a token, a certificate or a key, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The server, and how it is called.
#[derive(Debug, clap::Args)]
pub(crate) struct Server {
    /// The server to call: `http://host:port`, `https://host:port` for TLS, or `unix:/path`
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:50051")]
    #[arg(env = "ROWGATE_ADDRESS", hide_env_values = true)]
    address: Address,
    /// The file with the token of this caller; without it, the variable ROWGATE_TOKEN has the token, if any
    #[arg(long, value_name = "PATH")]
    token_file: Option<PathBuf>,
    /// The PEM file with the authorities that sign the server's certificate; without it, the one that the variable
    /// ROWGATE_CA names, if any, or those of the system. Calls over TLS whatever the address says
    #[arg(long, value_name = "PATH")]
    ca: Option<PathBuf>,
    /// The PEM file with the certificate that this caller shows
    #[arg(long, value_name = "PATH", requires = "cert_key")]
    cert: Option<PathBuf>,
    /// The PEM file with the private key of the certificate
    #[arg(long, value_name = "PATH", requires = "cert")]
    cert_key: Option<PathBuf>,
}

/// The address of the server, and the limit of a call.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    #[command(flatten)]
    server: Server,
    /// The time limit of the response
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    #[arg(value_parser = humantime::parse_duration)]
    timeout: Duration,
}

impl Server {
    pub(crate) async fn connect(&self) -> Result<Client> {
        let environment = Environment::of_process();
        let encrypted = self.authorities(&environment).map(|_| self.address.encrypted());
        let address = encrypted.as_ref().unwrap_or(&self.address);
        let security = self.security(address, &environment)?;
        Ok(Client::connect(address, &security).await?)
    }

    /// The file with the authorities that are trusted instead of the system's.
    fn authorities(&self, environment: &Environment) -> Option<PathBuf> {
        let named = environment.get(CA).filter(|path| !path.is_empty());
        self.ca.clone().or_else(|| named.map(PathBuf::from))
    }

    /// Reads what is shown to the server, and what is trusted.
    fn security(&self, address: &Address, environment: &Environment) -> Result<Security> {
        let mut security = Security::default();
        if let Some(path) = &self.token_file {
            let token = String::from_utf8(read(path)?).unwrap_or_default();
            security = security.with_token(token.trim()).map_err(|why| failed(path, &why))?;
        } else if let Some(token) = environment.get(TOKEN).filter(|token| !token.is_empty()) {
            let failed = |why| CommandError::Failed(format!("{TOKEN} cannot be used: {why}"));
            security = security.with_token(token.trim()).map_err(failed)?;
        }
        if let Some(path) = self.authorities(environment) {
            let added = security.with_authorities(&read(&path)?);
            security = added.map_err(|why| failed(&path, &why))?;
        }
        if let (Some(cert), Some(key)) = (&self.cert, &self.cert_key) {
            if !address.is_encrypted() {
                let why = "--cert needs TLS: write https:// in --address, or name the authority with --ca";
                return Err(CommandError::Usage(why.to_owned()));
            }
            let shown = security.with_certificate(&read(cert)?, &read(key)?);
            security = shown.map_err(|why| failed(cert, &why))?;
        }
        Ok(security)
    }
}

impl Target {
    pub(crate) fn call<T>(
        &self,
        call: impl AsyncFnOnce(Client) -> Result<T, CallError>,
    ) -> Result<T> {
        block_on(async { Ok(call(self.server.connect().await?.with_limit(self.timeout)).await?) })
    }
}

/// Runs a client: one connection needs one thread.
pub(crate) fn block_on<T>(client: impl Future<Output = Result<T>>) -> Result<T> {
    Builder::new_current_thread().enable_all().build()?.block_on(client)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_FILE).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|error| failed(path, &error.to_string()))
}

fn failed(path: &Path, why: &str) -> CommandError {
    CommandError::Failed(format!("{} cannot be used: {why}", path.display()))
}
