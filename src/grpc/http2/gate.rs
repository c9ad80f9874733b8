//! The gate before the services: who calls, and if it may. Nothing of a call's body is read before.

use std::sync::Arc;
use std::time::Instant;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use crate::access::{Authenticator, CallPermit, ConnectionCallers, Identity, Presented};
use crate::config::Audit;
use crate::error::Result;
use crate::grpc::method_names::HEALTH;
use crate::grpc::request_context::Peer;
use crate::telemetry::RpcCall;

/// The gate of all calls.
pub(crate) struct Gate {
    /// `None` where callers are not authenticated.
    authenticator: Option<Arc<Authenticator>>,
    anybody: Arc<Identity>,
    audit: Audit,
}

/// The kind of a call, as limits count it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival<'a> {
    /// The method, as in `rowgate.v1.DatabaseService/Query`.
    pub(crate) method: &'a str,
    pub(crate) is_transaction: bool,
    pub(crate) at: Instant,
    /// The callers of its connection.
    pub(crate) connection: &'a ConnectionCallers,
}

/// A call that may go on.
pub(crate) struct Admitted {
    pub(crate) identity: Arc<Identity>,
    /// Counts the call until it is dropped.
    pub(crate) permit: Option<CallPermit>,
}

impl Gate {
    pub(crate) fn new(authenticator: Option<Arc<Authenticator>>, audit: Audit) -> Self {
        Self { authenticator, anybody: Arc::new(Identity::anybody()), audit }
    }

    /// Lets a call have a line of audit. Probes have none.
    pub(crate) fn audit(&self, call: &RpcCall, peer: &Peer) {
        if self.audit != Audit::Off && !call.method().starts_with(HEALTH) {
            call.set_audit(self.audit, &peer.name);
        }
    }

    /// Identifies the caller of a call.
    pub(crate) fn identify(
        &self,
        headers: &HeaderMap,
        peer: &Peer,
        method: &str,
    ) -> Result<Arc<Identity>> {
        let Some(authenticator) = &self.authenticator else { return Ok(Arc::clone(&self.anybody)) };
        if method.starts_with(HEALTH) {
            return Ok(Arc::clone(&self.anybody));
        }
        let mut values = headers.get_all(AUTHORIZATION).iter().map(text);
        // More than two are not counted.
        let authorization = [values.next(), values.next()];
        let authorization: &[Option<&str>] = match &authorization {
            [None, _] => &[],
            [Some(first), None] => &[*first],
            [Some(first), Some(second)] => &[*first, *second],
        };
        let certificate_names = &peer.certificate_names;
        authenticator.authenticate(Presented { authorization, certificate_names, uid: peer.uid })
    }

    /// Admits a call of a caller, or returns the error of the right that it lacks or of the limit that it is over.
    pub(crate) fn admit(&self, identity: Arc<Identity>, arrival: Arrival<'_>) -> Result<Admitted> {
        let Arrival { method, is_transaction, at, connection } = arrival;
        if !method.starts_with(HEALTH) {
            identity.policy.check_rpc(method)?;
        }
        connection.admit(&identity.limits)?;
        let permit = identity.limits.admit(is_transaction, at)?;
        Ok(Admitted { identity, permit })
    }
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}
