//! The descriptors of everything that is served, and of the details of errors.

use std::collections::BTreeSet;

use prost::{DecodeError, Message as _};
use prost_types::{DescriptorProto, FileDescriptorSet};

use crate::value::FILE_DESCRIPTOR_SET;

/// The sets, each with its imports before the files that need them. The services of reflection describe themselves.
pub(crate) const DESCRIPTORS: [&[u8]; 3] = [
    FILE_DESCRIPTOR_SET,
    tonic_types::pb::FILE_DESCRIPTOR_SET,
    tonic_health::pb::FILE_DESCRIPTOR_SET,
];

/// Returns all of them as one encoded `FileDescriptorSet`, each file and each message once, behind its imports: one set has
/// `google.rpc.Status` in a file of another name.
///
/// # Errors
/// A set that cannot be decoded: a defect of the build.
pub(crate) fn descriptor_set() -> Result<Vec<u8>, DecodeError> {
    let mut whole = FileDescriptorSet::default();
    let mut names = BTreeSet::new();
    let mut messages = BTreeSet::new();
    for encoded in DESCRIPTORS {
        for file in FileDescriptorSet::decode(encoded)?.file {
            let of = |message: &DescriptorProto| format!("{}.{}", file.package(), message.name());
            let own: Vec<_> = file.message_type.iter().map(of).collect();
            let is_known = !own.is_empty() && own.iter().all(|name| messages.contains(name));
            if !is_known && names.insert(file.name().to_owned()) {
                messages.extend(own);
                whole.file.push(file);
            }
        }
    }
    Ok(whole.encode_to_vec())
}
