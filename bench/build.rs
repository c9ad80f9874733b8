//! Compiles the contract of the product, and finds out whether it knows results in Arrow's format.

#![expect(
    clippy::disallowed_methods,
    reason = "cargo talks to build scripts through the environment"
)]

use prost_types::{DescriptorProto, FileDescriptorSet};
use std::path::PathBuf;

const DATABASE: &str = "rowgate/v1/database.proto";

/// The messages of a streamed query from the outermost, each with the number of its field for the next one.
const NESTED: [(&str, u8); 3] =
    [("StreamQueryRequest", 1), ("QueryRequest", 4), ("QueryOptions", 0)];

/// Not all calls are measured, and names are the contract's.
const GENERATED: &str =
    "#[allow(dead_code, clippy::enum_variant_names, clippy::large_enum_variant)]";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=../proto");
    let descriptors = protox::compile([DATABASE], ["../proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let arrow = format!("{:?}", arrow_request(&descriptors));
    std::fs::write(
        out.join("arrow.rs"),
        format!("pub const ARROW: Option<&[u8]> = {};", arrow.replace('[', "&[")),
    )?;
    prost_build::Config::new()
        .include_file("contract.rs")
        .type_attribute(".", GENERATED)
        .compile_fds(descriptors)?;
    Ok(())
}

/// The bytes that, appended to a StreamQueryRequest, ask for Arrow: a field of an enumeration with a value `…ARROW`.
fn arrow_request(descriptors: &FileDescriptorSet) -> Option<Vec<u8>> {
    for (depth, (name, _)) in NESTED.iter().enumerate() {
        let message = messages(descriptors).find(|message| message.name() == *name)?;
        let Some(mut bytes) = arrow_field(descriptors, message) else { continue };
        for (_, field) in NESTED[..depth].iter().rev() {
            let length = u8::try_from(bytes.len()).ok()?;
            bytes.splice(0..0, [(field << 3) | 2, length]);
        }
        return Some(bytes);
    }
    None
}

fn messages(descriptors: &FileDescriptorSet) -> impl Iterator<Item = &DescriptorProto> {
    descriptors.file.iter().flat_map(|file| &file.message_type)
}

fn arrow_field(descriptors: &FileDescriptorSet, message: &DescriptorProto) -> Option<Vec<u8>> {
    let enumerations = || descriptors.file.iter().flat_map(|file| &file.enum_type);
    message.field.iter().find_map(|field| {
        let kind = field.type_name().rsplit('.').next()?;
        let enumeration = enumerations().find(|one| one.name() == kind)?;
        let value = enumeration.value.iter().find(|value| value.name().ends_with("ARROW"))?;
        Some(vec![u8::try_from(field.number()).ok()? << 3, u8::try_from(value.number()).ok()?])
    })
}
