//! The names of methods and of status codes in telemetry.

use http::HeaderName;
use tonic::Code;

/// The header or trailer of the status code.
/// The methods that anybody may call: probes have no identity.
pub(crate) const HEALTH: &str = "grpc.health.v1.Health/";

pub(crate) const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Every method of this server.
const METHODS: [&str; 22] = [
    "rowgate.v1.DatabaseService/Query",
    "rowgate.v1.DatabaseService/StreamQuery",
    "rowgate.v1.DatabaseService/ExecuteBatch",
    "rowgate.v1.DatabaseService/Transact",
    "rowgate.v1.DatabaseService/GetTransactionOutcome",
    "rowgate.v1.DatabaseService/DescribeStatement",
    "rowgate.v1.DatabaseService/CopyIn",
    "rowgate.v1.DatabaseService/CopyOut",
    "rowgate.v1.DatabaseService/Listen",
    "rowgate.v1.PoolService/ListPoolStats",
    "rowgate.v1.PoolService/WatchPoolStats",
    "rowgate.v1.PoolService/ListCheckouts",
    "rowgate.v1.PoolService/PausePool",
    "rowgate.v1.PoolService/ResumePool",
    "rowgate.v1.PoolService/ReconnectPool",
    "rowgate.v1.PoolService/ResizePool",
    "rowgate.v1.PoolService/TerminateCheckout",
    "rowgate.v1.ServerService/GetServerInfo",
    "grpc.health.v1.Health/Check",
    "grpc.health.v1.Health/Watch",
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Returns the name of the method of a path, one of a finite set: `_OTHER` for a method that this server does not have
/// (semantic conventions for RPC, `rpc.method`).
pub(crate) fn method_of(path: &str) -> &'static str {
    let name = path.strip_prefix('/').unwrap_or_default();
    METHODS.into_iter().find(|method| *method == name).unwrap_or("_OTHER")
}

/// Returns the name of a status code (gRPC, Status codes and their use).
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn every_served_method_has_a_name() {
        let mut served = BTreeSet::new();
        for set in [
            crate::value::FILE_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ] {
            for file in FileDescriptorSet::decode(set).unwrap().file {
                for service in &file.service {
                    for method in &service.method {
                        served.insert(format!(
                            "{}.{}/{}",
                            file.package(),
                            service.name(),
                            method.name()
                        ));
                    }
                }
            }
        }
        let known: BTreeSet<String> = METHODS.into_iter().map(str::to_owned).collect();
        // The descriptors of health have it, the linked service does not.
        served.remove("grpc.health.v1.Health/List");
        assert_eq!(served, known);
        // What a caller needs the right to call: a method that is not listed here is denied to all.
        let needing_rights = METHODS.into_iter().filter(|name| !name.starts_with("grpc.health."));
        let short = needing_rights.map(|method| method.rsplit('/').next().unwrap());
        assert_eq!(short.collect::<BTreeSet<_>>(), BTreeSet::from(crate::config::RPCS));
        for method in METHODS {
            assert_eq!(method_of(&format!("/{method}")), method);
        }
        for path in
            ["", "/", "/rowgate.v1.DatabaseService/Drop", "rowgate.v1.DatabaseService/Query"]
        {
            assert_eq!(method_of(path), "_OTHER", "{path}");
        }
    }
}
