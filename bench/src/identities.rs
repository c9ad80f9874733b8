//! Callers with identities: the server that asks for them over TLS or in plain text, and what they show. openssl makes keys.

use crate::options::Options;
use crate::servers::{self, Scratch, Server};
use crate::{Result, fail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

const ISSUER: &str = "https://bench.test";
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A server that knows its callers, one in plain text and one with TLS.
pub struct Known {
    pub plain: Server,
    pub encrypted: Server,
    pub token: String,
    pub web_token: String,
    /// The certificate of the server, which is its own authority.
    pub certificate: PathBuf,
}

impl Known {
    pub async fn start(options: &Options, scratch: &Scratch, url: &str) -> Result<Self> {
        let directory = scratch.0.join("identities");
        fs::create_dir(&directory)?;
        let at = |name: &str| directory.join(name);
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let mut made = Command::new("openssl");
        made.args(["req", "-x509", "-days", "1", "-subj", "/CN=rowgate"])
            .args(key)
            .args(["-addext", "subjectAltName=IP:127.0.0.1"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"]);
        output(made.arg(at("tls.key")).arg("-out").arg(at("tls.crt")))?;
        output(Command::new("openssl").args(["genrsa", "-out"]).arg(at("jwt.key")).arg("2048"))?;
        fs::write(at("jwks.json"), key_set(&at("jwt.key"))?)?;
        fs::write(at("callers.toml"), callers(&directory))?;
        let mut made = Command::new(&options.rowgate);
        made.args(["token", "new", "bench", "--config"]).arg(at("callers.toml"));
        let token = String::from_utf8(output(&mut made)?)?.trim().to_owned();
        let lines = callers(&directory);
        let tls = format!(
            "{lines}[grpc.tls]\ncert = '{}'\nkey = '{}'\n",
            at("tls.crt").display(),
            at("tls.key").display()
        );
        Ok(Self {
            plain: servers::rowgate(options, scratch, url, &lines).await?,
            encrypted: servers::rowgate(options, scratch, url, &tls).await?,
            token,
            web_token: web_token(&directory)?,
            certificate: at("tls.crt"),
        })
    }
}

/// The configuration of one caller.
fn callers(directory: &Path) -> String {
    format!(
        "[access]\ntokens = '{0}/tokens'\n[access.jwt]\nkeys = '{0}/jwks.json'\nissuer = '{ISSUER}'\n\
         audiences = ['rowgate']\n[callers.bench]\nsubjects = ['bench']\ndatabases = ['main']\nrpcs = ['Query']\n\
         read_only = false\n",
        directory.display()
    )
}

fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    fail(format!("{:?} failed: {said}", command.get_program()))
}

/// The JWKS of an RSA key.
fn key_set(key: &Path) -> Result<String> {
    let mut read = Command::new("openssl");
    let modulus =
        String::from_utf8(output(read.args(["rsa", "-noout", "-modulus", "-in"]).arg(key))?)?;
    let digits = modulus.trim().trim_start_matches("Modulus=").as_bytes();
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?))
        .collect::<Result<_>>()?;
    let n = base64url(&bytes);
    let key =
        format!(r#"{{"kty":"RSA","alg":"RS256","use":"sig","kid":"bench","n":"{n}","e":"AQAB"}}"#);
    Ok(format!(r#"{{"keys":[{key}]}}"#))
}

/// A JSON Web Token that is good for an hour.
fn web_token(directory: &Path) -> Result<String> {
    let end = SystemTime::now() + Duration::from_secs(3600);
    let end = end.duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let claims = format!(r#"{{"iss":"{ISSUER}","aud":"rowgate","sub":"bench","exp":{end}}}"#);
    let head = base64url(br#"{"alg":"RS256","typ":"JWT","kid":"bench"}"#);
    let signed = format!("{head}.{}", base64url(claims.as_bytes()));
    let text = directory.join("signed");
    fs::write(&text, &signed)?;
    let mut sign = Command::new("openssl");
    sign.args(["dgst", "-sha256", "-sign"]).arg(directory.join("jwt.key")).arg(&text);
    Ok(format!("{signed}.{}", base64url(&output(&mut sign)?)))
}

/// Base64 for URLs, without padding (RFC 4648, 5).
fn base64url(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_usize, |group, byte| group << 8 | usize::from(*byte));
        let group = group << (8 * (3 - chunk.len()));
        for index in 0..=chunk.len() {
            text.push(char::from(ALPHABET[group >> (18 - 6 * index) & 63]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_no_padding() {
        for (bytes, text) in
            [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg")]
        {
            assert_eq!(base64url(bytes.as_bytes()), text);
        }
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
    }
}
