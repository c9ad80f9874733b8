//! What makes two requests under one idempotency key the same.

use prost::Message;
use sha2::{Digest, Sha256};

use crate::value::proto::{ExecuteBatchRequest, QueryOptions, QueryRequest};

/// The hash of a query. `database` is the resolved name.
///
/// Everything counts but `timeout` and `tag`: they say nothing of what is done, and a caller that sends
/// again may well have less time left.
pub(super) fn of_query(request: &QueryRequest, database: &str) -> [u8; 32] {
    let QueryRequest { database: _, sql, parameters, options } = request;
    let mut hash = Hash::new("Query", database);
    hash.bytes(sql.as_bytes());
    hash.messages(parameters);
    hash.options(options.as_ref());
    hash.end()
}

/// The hash of a batch: everything but `max_attempts`, and as of a query.
pub(super) fn of_batch(request: &ExecuteBatchRequest, database: &str) -> [u8; 32] {
    let ExecuteBatchRequest {
        database: _,
        statements,
        transaction,
        options,
        max_attempts: _,
        dry_run,
    } = request;
    let mut hash = Hash::new("ExecuteBatch", database);
    hash.messages(statements);
    // What is not set means the same as what is set to nothing.
    hash.message(&transaction.unwrap_or_default());
    hash.options(options.as_ref());
    hash.bytes(&[u8::from(*dry_run)]);
    hash.end()
}

/// A hash of parts, each with its length before it, so that no two lists of parts read the same.
///
/// The parts are messages as protobuf encodes them. Ours encode one value in one way: no maps, fields
/// in the order of their numbers, defaults left out; a field that a later version adds leaves the hash of
/// requests without it as it was, so that replicas of both versions agree.
struct Hash(Sha256);

impl Hash {
    fn new(rpc: &str, database: &str) -> Self {
        let mut hash = Self(Sha256::new());
        hash.bytes(rpc.as_bytes());
        hash.bytes(database.as_bytes());
        hash
    }

    fn length(&mut self, length: usize) {
        self.0.update(u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.0.update(bytes);
    }

    fn message(&mut self, message: &impl Message) {
        self.bytes(&message.encode_to_vec());
    }

    fn messages(&mut self, messages: &[impl Message]) {
        self.length(messages.len());
        for message in messages {
            self.message(message);
        }
    }

    fn options(&mut self, options: Option<&QueryOptions>) {
        let options = options.cloned().unwrap_or_default();
        self.message(&QueryOptions { timeout: None, tag: String::new(), ..options });
    }

    fn end(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}
