//! The transport for services: decode, call, encode. Tonic is used here only; the generated code in
//! `value` names its types.

pub(crate) mod client;
mod descriptors;
mod grpc_server;
mod grpc_status;
mod http2;
mod method_names;
mod probe_server;
mod request_context;
mod respond;
mod services;
mod web;

pub(crate) use descriptors::descriptor_set;
pub(crate) use grpc_server::{Front, GrpcServer};
#[cfg(feature = "fuzzing")]
pub(crate) use http2::frame_guard::FrameGuard;
pub(crate) use http2::listener_tls::ListenerTls;
pub(crate) use http2::preface::{AcceptedConnection, CountGuard};
pub(crate) use http2::transport::AcceptedStream;
pub(crate) use probe_server::ProbeServer;
pub(crate) use respond::wrong_port;
pub(crate) use services::health_service::HealthReporter;
#[cfg(feature = "fuzzing")]
pub use web::fuzzed_translation::WebTranslation;
