//! Compiles the contract in proto/ and keeps its descriptor set for reflection.

#![expect(
    clippy::disallowed_methods,
    reason = "cargo talks to build scripts through the environment"
)]

use std::path::PathBuf;

const PROTOS: [&str; 5] = [
    "rowgate/v1/value.proto",
    "rowgate/v1/database.proto",
    "rowgate/v1/error.proto",
    "rowgate/v1/pool.proto",
    "rowgate/v1/server.proto",
];

/// The flags of .cargo/config.toml for the SQLite that is compiled in.
const SQLITE_FLAGS: [&str; 2] = ["SQLITE_ENABLE_MATH_FUNCTIONS", "SQLITE_ENABLE_PERCENTILE"];

/// Warns of a SQLite that lacks functions: outside this directory cargo does not read .cargo/config.toml.
fn check_sqlite_flags() {
    println!("cargo:rerun-if-env-changed=LIBSQLITE3_FLAGS");
    let flags = std::env::var("LIBSQLITE3_FLAGS").unwrap_or_default();
    for flag in SQLITE_FLAGS.iter().filter(|flag| !flags.contains(*flag)) {
        println!(
            "cargo:warning=SQLite is built without {flag}: build in the repository, or set LIBSQLITE3_FLAGS as its .cargo/config.toml does"
        );
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    check_sqlite_flags();
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("rowgate.bin"), prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure()
        .build_transport(false)
        .extern_path(".google.rpc.Status", "::tonic_types::Status")
        // Written by hand: their rows are encoded before the message is.
        .extern_path(".rowgate.v1.ResultSet", "crate::value::proto::ResultSet")
        .extern_path(".rowgate.v1.RowBatch", "crate::value::proto::RowBatch")
        .extern_path(".rowgate.v1.JsonBatch", "crate::value::proto::JsonBatch")
        .compile_fds(descriptors)?;
    Ok(())
}
