//! MariaDB with its data, and Rowgate before it.

use crate::grpc::Connection;
use crate::options::Options;
use crate::servers::{self, Scratch, Server, free_port, give_away, unprivileged};
use crate::{Result, fail, gateway, sql};
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The accounts in MariaDB.
pub const MARIADB_ACCOUNTS: i32 = 100_000;

const FILL_TIMEOUT: Duration = Duration::from_secs(60);

/// One statement a line, which the server runs before it accepts connections.
const FILL: [&str; 6] = [
    "CREATE DATABASE bench CHARACTER SET utf8mb4",
    "GRANT ALL ON bench.* TO bench@'%' IDENTIFIED BY 'bench'",
    "CREATE TABLE bench.pgbench_accounts (aid int PRIMARY KEY, bid int NOT NULL, abalance int NOT NULL, filler char(84) NOT NULL)",
    "INSERT INTO bench.pgbench_accounts SELECT seq, 1, 0, '' FROM bench.seq_1_to_100000",
    "CREATE TABLE bench.bench_rows (id bigint PRIMARY KEY, amount double NOT NULL, label varchar(40) NOT NULL, at timestamp(6) NOT NULL)",
    "INSERT INTO bench.bench_rows SELECT seq, seq / 8e0, concat('label ', seq), from_unixtime(1700000000 + seq) FROM bench.seq_1_to_1000000",
];

/// Both servers, ended in this order.
pub struct Mariadb {
    pub gateway: Server,
    pub server: Server,
    pub version: String,
}

impl Mariadb {
    /// Starts them, where the server's programs were found.
    pub async fn start(options: &Options, scratch: &Scratch) -> Result<Option<Self>> {
        let Some(program) = &options.mariadbd else { return Ok(None) };
        let version = servers::version(program).await?;
        let server = start_server(options, scratch, program).await?;
        let url = format!("mysql://bench:bench@{}/bench", server.address);
        let gateway = servers::rowgate(options, scratch, &url, "").await?;
        let filled = Self { gateway, server, version };
        filled.await_rows().await?;
        Ok(Some(filled))
    }

    async fn await_rows(&self) -> Result<()> {
        let connection = Connection::open(self.gateway.address).await?;
        let start = Instant::now();
        loop {
            let counted = gateway::run(&connection, "SELECT count(*) FROM bench_rows").await;
            let count = counted.as_ref().ok().and_then(gateway::first);
            if count == Some(i64::try_from(sql::ROW_COUNT)?) {
                return Ok(());
            }
            if start.elapsed() > FILL_TIMEOUT {
                return fail(format!("MariaDB has not its rows: {:?}", counted.err()));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn start_server(options: &Options, scratch: &Scratch, program: &PathBuf) -> Result<Server> {
    let directory = scratch.0.join("mariadb");
    fs::create_dir(&directory)?;
    give_away(options, &directory)?;
    let data = directory.join("data");
    let settings = [
        "--no-defaults".to_owned(),
        format!("--datadir={}", data.display()),
        "--innodb-use-native-aio=OFF".to_owned(),
        "--innodb-flush-method=nosync".to_owned(),
        "--innodb-buffer-pool-size=512M".to_owned(),
    ];
    let mut places = options.path.iter().map(|place| place.join("mariadb-install-db"));
    let Some(install) = places.find(|path| path.is_file()) else {
        return fail("no mariadb-install-db");
    };
    let made = unprivileged(options, install)
        .args(&settings)
        .args(["--skip-test-db", "--auth-root-authentication-method=normal"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if !made.success() {
        return fail("mariadb-install-db failed");
    }
    let fill = directory.join("fill.sql");
    fs::write(&fill, FILL.join(";\n") + ";\n")?;
    give_away(options, &fill)?;
    let port = free_port()?;
    let mut command = unprivileged(options, program);
    command.args(&settings).args(["--bind-address=127.0.0.1", "--skip-name-resolve"]);
    command.args(["--max-connections=300", "--skip-log-bin", "--default-time-zone=+00:00"]);
    command.args([format!("--port={port}"), format!("--init-file={}", fill.display())]);
    for file in ["socket", "pid-file"] {
        command.arg(format!("--{file}={}", directory.join(file).display()));
    }
    Server::start(command, port, &scratch.0.join("mariadb.log")).await
}
