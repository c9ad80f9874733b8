//! Load generators that are not ours: pgbench, h2load, and Python's clients.

use crate::contract::rowgate::v1::StreamQueryRequest;
use crate::grpc::frame;
use crate::load::{Sample, figures};
use crate::machine::Snapshot;
use crate::options::Options;
use crate::plan::Via;
use crate::stand::Stand;
use crate::{ARROW, Result, fail, gateway, sql};
use prost::Message;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::process::Command;

/// The script that pgbench runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Script {
    Point,
    Transfer,
}

/// The output of a command that ends by itself soon after the time of a round.
async fn output(options: &Options, mut command: Command) -> Result<String> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let running = command.kill_on_drop(true).output();
    let output = tokio::time::timeout(options.time + Duration::from_secs(60), running).await??;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        fail(format!("{program} failed: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// The first number behind a word in the output.
fn number(output: &str, behind: &str) -> Result<f64> {
    let rest = output.split_once(behind).map_or("", |(_, rest)| rest.trim_start());
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    rest[..end].parse().or_else(|_| fail(format!("no number behind {behind:?} in {output}")))
}

pub async fn pgbench(
    options: &Options,
    stand: &Stand,
    script: Script,
    clients: usize,
) -> Result<Sample> {
    let file = stand.scratch.0.join("point.sql");
    let point = sql::POINT.replace("$1", ":aid");
    std::fs::write(&file, format!("\\set aid random(1, {})\n{point};\n", sql::ACCOUNTS))?;
    let mut command = Command::new(options.postgres_bin.join("pgbench"));
    command.args(["-n", "-M", "prepared", "-h", "127.0.0.1", "-U", "postgres", "-p"]);
    command.arg(stand.postgres.address.port().to_string());
    command.args(["-c", &clients.to_string(), "-T", &options.time.as_secs().to_string()]);
    if script == Script::Point {
        command.arg("-f").arg(&file);
    }
    command.arg("postgres");
    let start = Snapshot::take()?;
    let output = output(options, command).await?;
    let spent = start.until(&Snapshot::take()?, &stand.known());
    let done = number(&output, "number of transactions actually processed:")?;
    if number(&output, "number of failed transactions:").unwrap_or(0.0) > 0.0 {
        return fail(format!("pgbench had failures: {output}"));
    }
    if script == Script::Transfer {
        stand.committed.set(stand.committed.get() + done as u64);
    }
    let mut sample = figures(&spent, done);
    sample.insert("per_second", number(&output, "\ntps =")?);
    Ok(sample)
}

/// The path of h2load.
pub fn h2load(options: &Options) -> Option<PathBuf> {
    options.path.iter().map(|place| place.join("h2load")).find(|path| path.is_file())
}

/// Sends the query of one key. h2load looks at HTTP's status only; ours has checked the answers.
pub async fn h2load_round(
    options: &Options,
    stand: &Stand,
    calls: usize,
    connections: usize,
) -> Result<Sample> {
    let Some(program) = h2load(options) else { return fail("no h2load") };
    let body = stand.scratch.0.join("query.bin");
    std::fs::write(&body, frame(&gateway::query(sql::POINT, &[4711])))?;
    let mut command = Command::new(program);
    command.args(["-c", &connections.to_string(), "-m", &(calls / connections).to_string()]);
    command.args([
        "-D",
        &options.time.as_secs().to_string(),
        "-H",
        "content-type: application/grpc",
    ]);
    command.args(["-H", "te: trailers", "-d"]).arg(&body);
    command.arg(format!("http://{}/rowgate.v1.DatabaseService/Query", stand.pooled.address));
    let start = Snapshot::take()?;
    let output = output(options, command).await?;
    let spent = start.until(&Snapshot::take()?, &stand.known());
    if !output.contains(" 0 4xx, 0 5xx") {
        return fail(format!("h2load saw failures: {output}"));
    }
    let rate = output
        .split_once("finished in")
        .and_then(|(_, rest)| rest.split_once(", "))
        .map_or("", |(_, rest)| rest);
    let per_second: f64 = rate.split_whitespace().next().unwrap_or_default().parse()?;
    let mut sample = figures(&spent, per_second * options.time.as_secs_f64());
    sample.insert("per_second", per_second);
    Ok(sample)
}

/// Reads the million rows in Python for as long as a round.
pub async fn python(
    options: &Options,
    stand: &Stand,
    address: SocketAddr,
    mode: &str,
) -> Result<Sample> {
    let Ok(python) = &options.python else { return fail("no Python") };
    let request =
        StreamQueryRequest { query: Some(gateway::query(sql::ROWS, &[])) }.encode_to_vec();
    let mut command = Command::new(python);
    command.arg(options.repository.join("bench/rows.py")).arg(mode);
    command.arg(options.repository.join("proto")).arg(&stand.scratch.0);
    command.arg(stand.postgres.address.port().to_string()).arg(address.to_string());
    command.arg(options.time.as_secs().to_string());
    command.arg(
        hex(&request)
            + &if mode == "arrow" { hex(ARROW.unwrap_or_default()) } else { String::new() },
    );
    let start = Snapshot::take()?;
    let output = output(options, command).await?;
    let spent = start.until(&Snapshot::take()?, &stand.known());
    let mut sample = figures(&spent, number(&output, "rows:")?);
    sample.insert("per_second", number(&output, "rows/s:")?);
    Ok(sample)
}

/// Asks MariaDB as services in Python do.
pub async fn alchemy(
    options: &Options,
    stand: &Stand,
    mode: &str,
    threads: usize,
) -> Result<Sample> {
    let Ok(python) = &options.python else { return fail("no Python") };
    let port = stand.address(Via::Alchemy)?.port();
    let mut command = Command::new(python);
    command.arg(options.repository.join("bench/alchemy.py")).arg(mode).arg(port.to_string());
    command.arg(options.time.as_secs().to_string()).arg(threads.to_string());
    let start = Snapshot::take()?;
    let output = output(options, command).await?;
    let spent = start.until(&Snapshot::take()?, &stand.known());
    let mut sample = figures(&spent, number(&output, "done:")?);
    sample.insert("per_second", number(&output, "done/s:")?);
    Ok(sample)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
