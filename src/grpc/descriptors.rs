//! The descriptors of everything that is served, and of the details of errors.

use std::collections::BTreeSet;

use prost::{DecodeError, Message as _};
use prost_types::FileDescriptorSet;

use crate::value::FILE_DESCRIPTOR_SET;

/// The sets, each with its imports before the files that need them. The services of reflection describe themselves.
pub(crate) const DESCRIPTORS: [&[u8]; 3] = [
    FILE_DESCRIPTOR_SET,
    tonic_types::pb::FILE_DESCRIPTOR_SET,
    tonic_health::pb::FILE_DESCRIPTOR_SET,
];

/// Returns all of them as one encoded `FileDescriptorSet`, each file once, behind its imports.
///
/// # Errors
/// A set that cannot be decoded: a defect of the build.
pub(crate) fn descriptor_set() -> Result<Vec<u8>, DecodeError> {
    let mut whole = FileDescriptorSet::default();
    let mut names = BTreeSet::new();
    for encoded in DESCRIPTORS {
        let set = FileDescriptorSet::decode(encoded)?;
        whole.file.extend(set.file.into_iter().filter(|file| names.insert(file.name().to_owned())));
    }
    Ok(whole.encode_to_vec())
}
