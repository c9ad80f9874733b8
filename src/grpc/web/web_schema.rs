//! The methods of all services, and their messages, as the descriptors have them.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message as _;
use prost_reflect::{DescriptorPool, MessageDescriptor, MethodDescriptor};
use prost_types::method_options::IdempotencyLevel;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

use super::json_shapes::JsonShapes;
use crate::error::{Error, ErrorKind, Result};
use crate::value::FILE_DESCRIPTOR_SET;

/// The descriptors of everything that is served, and of the details of errors.
const DESCRIPTORS: [&[u8]; 5] = [
    FILE_DESCRIPTOR_SET,
    tonic_types::pb::FILE_DESCRIPTOR_SET,
    tonic_health::pb::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
];

/// The messages that are details of errors.
const DETAILS: [&str; 4] = [
    "google.rpc.ErrorInfo",
    "google.rpc.RetryInfo",
    "google.rpc.BadRequest",
    "rowgate.v1.DatabaseError",
];

/// The methods by their paths.
#[derive(Debug)]
pub(crate) struct WebSchema {
    methods: BTreeMap<String, Arc<WebMethod>>,
    pub(crate) shapes: Arc<JsonShapes>,
}

/// A method.
#[derive(Debug)]
pub(crate) struct WebMethod {
    pub(crate) name: String,
    pub(crate) request: MessageDescriptor,
    /// The place of the message of its answers among the shapes.
    pub(crate) answer: usize,
    pub(crate) has_request_stream: bool,
    pub(crate) has_answer_stream: bool,
    /// True for one that has no effects, by its option `idempotency_level`.
    pub(crate) is_read: bool,
}

impl WebSchema {
    /// # Errors
    /// Descriptors that are inconsistent: a defect of the build.
    pub(crate) fn new() -> Result<Self> {
        let mut pool = DescriptorPool::new();
        for set in DESCRIPTORS {
            add(&mut pool, FileDescriptorSet::decode(set).map_err(inconsistent)?)?;
        }
        let mut shapes = JsonShapes::default();
        let mut methods = BTreeMap::new();
        for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
            let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            methods.insert(path, Arc::new(WebMethod::new(&method, &mut shapes)));
        }
        for message in DETAILS.into_iter().filter_map(|name| pool.get_message_by_name(name)) {
            shapes.add(&message);
        }
        Ok(Self { methods, shapes: Arc::new(shapes) })
    }

    /// All methods, in the order of their paths.
    #[cfg(feature = "fuzzing")]
    pub(super) fn methods(&self) -> impl Iterator<Item = &Arc<WebMethod>> {
        self.methods.values()
    }

    /// The method of a path.
    pub(crate) fn method(&self, path: &str) -> Option<&Arc<WebMethod>> {
        self.methods.get(path)
    }
}

/// Adds files, but for those whose messages are known already, by whichever name of a file.
fn add(pool: &mut DescriptorPool, set: FileDescriptorSet) -> Result<()> {
    let is_new = |file: &FileDescriptorProto| {
        file.message_type.first().is_none_or(|message| {
            let name = format!("{}.{}", file.package(), message.name());
            pool.get_message_by_name(&name).is_none()
        })
    };
    let files: Vec<_> = set.file.into_iter().filter(is_new).collect();
    pool.add_file_descriptor_protos(files).map_err(inconsistent)
}

fn inconsistent(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Internal, "the descriptors are inconsistent").with_cause(error)
}

impl WebMethod {
    /// The message of its answers; `None` of one that is not served.
    #[cfg(feature = "fuzzing")]
    pub(super) fn answer_descriptor(&self) -> Option<MessageDescriptor> {
        let pool = self.request.parent_pool();
        let mut methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
        let own = methods.find(|method| {
            method.name() == self.name && method.input().full_name() == self.request.full_name()
        });
        own.filter(|_| !self.has_request_stream).map(|method| method.output())
    }

    fn new(method: &MethodDescriptor, shapes: &mut JsonShapes) -> Self {
        let options = method.method_descriptor_proto().options.clone().unwrap_or_default();
        // Not the answers of request streams: nobody reads them as JSON.
        let is_served = !method.is_client_streaming();
        let answer = if is_served { shapes.add(&method.output()) } else { usize::MAX };
        Self {
            name: method.name().to_owned(),
            request: method.input(),
            answer,
            has_request_stream: method.is_client_streaming(),
            has_answer_stream: method.is_server_streaming(),
            is_read: options.idempotency_level() == IdempotencyLevel::NoSideEffects,
        }
    }
}
