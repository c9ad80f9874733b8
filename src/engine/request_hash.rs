//! The hash by which a request is recognized under its idempotency key.

use prost::Message;
use sha2::{Digest, Sha256};

use crate::backend::IdempotencyKey;
use crate::config::Secret;
use crate::value::proto::{
    Begin, CopyInStart, ExecuteBatchRequest, QueryOptions, QueryRequest, Row, Setting,
    TransactionOptions,
};

/// The hash of a query. `database` is the resolved name.
///
/// All fields count except `timeout` and `tag`: they do not change the work, and a caller that repeats a
/// request may have less time left.
pub(super) fn of_query(request: &QueryRequest, database: &str) -> [u8; 32] {
    let QueryRequest { database: _, sql, parameters, options } = request;
    let mut hash = Hash::new("Query", database);
    hash.bytes(sql.as_bytes());
    hash.messages(parameters);
    hash.options(options.as_ref());
    hash.end()
}

/// The hash of a batch. All fields count except `max_attempts` and those excepted in a query.
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
    // An unset message means the same as an empty one.
    hash.message(&transaction.unwrap_or_default());
    hash.options(options.as_ref());
    hash.bytes(&[u8::from(*dry_run)]);
    hash.end()
}

/// The hash of a transaction's `begin`. All fields count except the tag and the timeouts.
pub(super) fn of_begin(begin: &Begin, database: &str) -> [u8; 32] {
    let Begin { database: _, transaction, idempotency_key: _, tag: _, settings } = begin;
    let mut hash = Hash::new("Transact", database);
    let transaction = transaction.unwrap_or_default();
    hash.message(&TransactionOptions { idle_timeout: None, max_duration: None, ..transaction });
    if !settings.is_empty() {
        hash.messages(&sorted(settings.clone()));
    }
    hash.end()
}

/// The hash of the start of a CopyIn. All fields count except those excepted in a query; the data has a hash of its own.
pub(super) fn of_copy_in(start: &CopyInStart, database: &str) -> [u8; 32] {
    let CopyInStart { database: _, schema, table, columns, format, text, options } = start;
    let mut hash = Hash::new("CopyIn", database);
    hash.bytes(schema.as_bytes());
    hash.bytes(table.as_bytes());
    hash.length(columns.len());
    columns.iter().for_each(|column| hash.bytes(column.as_bytes()));
    hash.bytes(&format.to_be_bytes());
    // An unset message means the same as an empty one.
    hash.message(&text.clone().unwrap_or_default());
    hash.options(options.as_ref());
    hash.end()
}

/// The running hash of the data of a CopyIn, which is the same however it is cut.
pub(super) struct DataHash(Sha256);

impl DataHash {
    pub(super) fn new() -> Self {
        Self(Sha256::new())
    }

    /// Adds the next bytes.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Adds the next row.
    pub(super) fn row(&mut self, row: &Row) {
        self.0.update(row.encode_length_delimited_to_vec());
    }

    pub(super) fn end(self) -> Vec<u8> {
        self.0.finalize().to_vec()
    }
}

/// Makes the claims of the caller a part of what its key is for: with others it may have other rows to see, and the request is
/// another one.
pub(super) fn with_claims(
    key: Option<IdempotencyKey>,
    claims: Option<&Secret>,
) -> Option<IdempotencyKey> {
    let Some(claims) = claims else { return key };
    key.map(|key| {
        let mut hash = Hash::new("claims", "");
        hash.bytes(&key.request_hash);
        hash.bytes(claims.expose().as_bytes());
        IdempotencyKey { request_hash: hash.end(), ..key }
    })
}

/// Settings in an order of their own: a client may keep them in a map, which has none.
fn sorted(mut settings: Vec<Setting>) -> Vec<Setting> {
    settings.sort_by(|a, b| (&a.name, &a.value).cmp(&(&b.name, &b.value)));
    settings
}

/// A hash of parts, each after its length, so that different lists of parts have different hashes.
///
/// The parts are encoded messages. Ours have one encoding each: no maps, fields in the order of their
/// numbers, defaults left out. A field that a later version adds does not change the hash of requests
/// without it, so that replicas of both versions agree.
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
        let settings = sorted(options.settings);
        self.message(&QueryOptions { timeout: None, tag: String::new(), settings, ..options });
    }

    fn end(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;
    use crate::value::proto::expectation::Rows;
    use crate::value::proto::{BatchStatement, Expectation, TransactionOptions};

    fn second() -> Option<prost_types::Duration> {
        Some(prost_types::Duration { seconds: 1, nanos: 0 })
    }

    fn query() -> QueryRequest {
        QueryRequest {
            sql: "select $1".to_owned(),
            parameters: vec![Value::text("a"), Value::int64(1)],
            ..Default::default()
        }
    }

    fn batch() -> ExecuteBatchRequest {
        let QueryRequest { sql, parameters, .. } = query();
        let statement = BatchStatement { sql, parameters, expect: None };
        ExecuteBatchRequest { statements: vec![statement; 2], ..Default::default() }
    }

    fn settings(names: &[&str]) -> Vec<Setting> {
        let setting = |name: &&str| Setting { name: (*name).to_owned(), value: "1".to_owned() };
        names.iter().map(setting).collect()
    }

    #[test]
    fn settings_count_in_any_order() {
        let with = |names: &[&str]| {
            let mut request = query();
            request.options.get_or_insert_default().settings = settings(names);
            let begin = Begin { settings: settings(names), ..Begin::default() };
            (of_query(&request, "main"), of_begin(&begin, "main"))
        };
        assert_eq!(with(&["a", "b"]), with(&["b", "a"]));
        for other in [&[][..], &["a"], &["a", "c"]] {
            assert_ne!(with(&["a", "b"]).0, with(other).0);
            assert_ne!(with(&["a", "b"]).1, with(other).1);
        }
    }

    type Change = fn(&mut QueryOptions);

    /// Changes to the options, with true if they make it another request.
    const OPTIONS: &[(bool, Change)] = &[
        (false, |_| {}),
        (false, |options| options.timeout = second()),
        (false, |options| options.tag = "t".to_owned()),
        (true, |options| options.max_rows = 1),
        (true, |options| options.max_bytes = 1),
        (true, |options| options.access_mode = 1),
        (true, |options| options.idempotent = true),
        (true, |options| options.idempotency_key = "k".to_owned()),
        (true, |options| options.settings = settings(&["a", "b"])),
    ];

    #[test]
    fn every_field_of_a_query_counts_but_its_timeout_and_tag() {
        let first = of_query(&query(), "main");
        for (index, (counts, change)) in OPTIONS.iter().enumerate() {
            let mut request = query();
            change(request.options.get_or_insert_default());
            assert_eq!(of_query(&request, "main") != first, *counts, "option {index}");
        }
        let changes: [fn(&mut QueryRequest); 5] = [
            |request| request.sql.push(' '),
            |request| request.parameters[0] = Value::text("b"),
            |request| request.parameters[1] = Value::text("1"),
            |request| request.parameters.reverse(),
            |request| request.parameters.push(Value::null()),
        ];
        for (index, change) in changes.iter().enumerate() {
            let mut request = query();
            change(&mut request);
            assert_ne!(of_query(&request, "main"), first, "change {index}");
        }
        assert_ne!(of_query(&query(), "other"), first);
    }

    #[test]
    fn every_field_of_a_batch_counts_but_its_timeout_tag_and_attempts() {
        let first = of_batch(&batch(), "main");
        for (index, (counts, change)) in OPTIONS.iter().enumerate() {
            let mut request = batch();
            change(request.options.get_or_insert_default());
            assert_eq!(of_batch(&request, "main") != first, *counts, "option {index}");
        }
        type OfBatch = fn(&mut ExecuteBatchRequest);
        fn transaction(request: &mut ExecuteBatchRequest) -> &mut TransactionOptions {
            request.transaction.get_or_insert_default()
        }
        let changes: &[(bool, OfBatch)] = &[
            (false, |request| request.max_attempts = 3),
            (false, |request| request.transaction = Some(TransactionOptions::default())),
            (true, |request| request.dry_run = true),
            (true, |request| transaction(request).isolation_level = 1),
            (true, |request| transaction(request).access_mode = 1),
            (true, |request| transaction(request).deferrable = true),
            (true, |request| request.statements.truncate(1)),
            (true, |request| request.statements[1].sql.push(' ')),
            (true, |request| request.statements[0].parameters.clear()),
            (true, |request| request.statements[0].expect = Some(Expectation { rows: None })),
            (true, |request| {
                let rows = Some(Rows::AtLeast(0));
                request.statements[0].expect = Some(Expectation { rows });
            }),
        ];
        for (index, (counts, change)) in changes.iter().enumerate() {
            let mut request = batch();
            change(&mut request);
            assert_eq!(of_batch(&request, "main") != first, *counts, "change {index}");
        }
        assert_ne!(of_batch(&batch(), "other"), first);
    }

    #[test]
    fn every_field_of_a_copys_start_counts_but_its_timeout_and_tag() {
        let start = || CopyInStart {
            table: "t".to_owned(),
            columns: vec!["a".to_owned(), "b".to_owned()],
            ..CopyInStart::default()
        };
        let first = of_copy_in(&start(), "main");
        for (index, (counts, change)) in OPTIONS.iter().enumerate() {
            let mut request = start();
            change(request.options.get_or_insert_default());
            assert_eq!(of_copy_in(&request, "main") != first, *counts, "option {index}");
        }
        let changes: [fn(&mut CopyInStart); 6] = [
            |start| start.schema.push('s'),
            |start| start.table.push('t'),
            |start| start.columns.reverse(),
            |start| start.columns = vec!["ab".to_owned()],
            |start| start.format = 2,
            |start| start.text.get_or_insert_default().header = true,
        ];
        for (index, change) in changes.iter().enumerate() {
            let mut request = start();
            change(&mut request);
            assert_ne!(of_copy_in(&request, "main"), first, "change {index}");
        }
        let unset = CopyInStart { text: Some(Default::default()), ..start() };
        assert_eq!(of_copy_in(&unset, "main"), first);
    }

    #[test]
    fn the_database_counts_as_it_is_resolved() {
        let named = QueryRequest { database: "main".to_owned(), ..query() };
        assert_eq!(of_query(&named, "main"), of_query(&query(), "main"));
        let named = ExecuteBatchRequest { database: "main".to_owned(), ..batch() };
        assert_eq!(of_batch(&named, "main"), of_batch(&batch(), "main"));
    }

    #[test]
    fn the_same_content_under_another_rpc_is_another_request() {
        let query = QueryRequest::default();
        assert_ne!(of_query(&query, "main"), of_batch(&ExecuteBatchRequest::default(), "main"));
    }

    #[test]
    fn a_hash_is_the_same_in_every_version() {
        // Replicas of two versions share a table of keys: this must never change.
        let hash = of_query(&query(), "main").map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(hash, "5e325810248d36196170de8960ff0c66c8439377526a9489f557492830f6be3e");
    }
}
