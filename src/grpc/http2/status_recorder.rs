//! The record of a call's end: the status that its caller is sent, in metrics, audit and traces.

use std::sync::Arc;

use http::HeaderMap;
use tonic::Code;

use crate::grpc::method_names::{STATUS, code_name};
use crate::telemetry::RpcCall;

/// Records the status that a caller is sent, or a cancellation when it is sent none.
#[derive(Default)]
pub(crate) struct StatusRecorder {
    call: Arc<RpcCall>,
    is_recorded: bool,
}

impl StatusRecorder {
    pub(crate) fn new(call: &Arc<RpcCall>) -> Self {
        Self { call: Arc::clone(call), is_recorded: false }
    }

    pub(crate) fn call(&self) -> &Arc<RpcCall> {
        &self.call
    }

    /// Records the status if it is among the headers.
    pub(crate) fn read(&mut self, headers: &HeaderMap) {
        if let Some(code) = headers.get(STATUS) {
            self.record(Code::from_bytes(code.as_bytes()));
        }
    }

    /// Records a status, unless one was recorded before.
    pub(crate) fn record(&mut self, code: Code) {
        if !std::mem::replace(&mut self.is_recorded, true) {
            self.call.ended(code_name(code));
        }
    }
}

impl Drop for StatusRecorder {
    fn drop(&mut self) {
        // The stream was reset, or its connection is lost.
        self.record(Code::Cancelled);
    }
}
