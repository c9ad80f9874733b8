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

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("rowgate.bin"), prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure()
        .build_transport(false)
        .extern_path(".google.rpc.Status", "::tonic_types::Status")
        .compile_fds(descriptors)?;
    Ok(())
}
