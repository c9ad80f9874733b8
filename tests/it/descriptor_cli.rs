//! The descriptor set that the command line prints.

use std::collections::BTreeSet;

use prost::Message as _;
use prost_types::FileDescriptorSet;

use crate::harness::server::run;

fn printed() -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let output = run(directory.path(), &["descriptor"], &[]);
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

#[test]
fn it_has_all_services_and_the_details_of_errors_each_file_behind_its_imports() {
    let set = FileDescriptorSet::decode(&*printed()).expect("it is a descriptor set");
    let mut files = BTreeSet::new();
    let mut names = BTreeSet::new();
    for file in &set.file {
        for import in &file.dependency {
            assert!(
                files.contains(import),
                "{} needs {import}, which is not before it",
                file.name()
            );
        }
        assert!(files.insert(file.name().to_owned()), "{} is there twice", file.name());
        let services = file.service.iter().map(|service| service.name());
        let messages = file.message_type.iter().map(|message| message.name());
        for name in services.chain(messages) {
            let name = format!("{}.{name}", file.package());
            assert!(names.insert(name.clone()), "{name} is there twice, in {}", file.name());
        }
    }
    for name in [
        "rowgate.v1.DatabaseService",
        "rowgate.v1.PoolService",
        "rowgate.v1.ServerService",
        "grpc.health.v1.Health",
        "rowgate.v1.DatabaseError",
        "google.rpc.Status",
        "google.rpc.ErrorInfo",
        "google.rpc.RetryInfo",
        "google.rpc.BadRequest",
        "google.protobuf.Any",
        "google.protobuf.Duration",
    ] {
        assert!(names.contains(name), "{name} is missing");
    }
}

#[test]
fn comments_of_the_contract_are_in_it() {
    let set = FileDescriptorSet::decode(&*printed()).expect("it is a descriptor set");
    let database = set.file.iter().find(|file| file.name() == "rowgate/v1/database.proto");
    let locations = &database.and_then(|file| file.source_code_info.as_ref()).expect("sources");
    let comments = locations.location.iter().filter_map(|one| one.leading_comments.as_deref());
    assert!(comments.into_iter().any(|comment| comment.contains("Runs SQL statements.")));
}

#[test]
fn a_file_gets_the_same_bytes() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let output = run(directory.path(), &["descriptor", "--out", "set.binpb"], &[]);
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    let written = std::fs::read(directory.path().join("set.binpb")).expect("it was written");
    assert_eq!(written, printed());
    let output = run(directory.path(), &["descriptor", "--out", "no/set.binpb"], &[]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.starts_with("error: no/set.binpb cannot be written: "), "{told}");
}
