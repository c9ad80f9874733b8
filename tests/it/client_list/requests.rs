//! The requests of steps.

use std::time::Duration;

use rowgate::value::proto::expectation::Rows;
use rowgate::value::proto::{
    AccessMode, BatchStatement, CopyFormat, CopyInStart, CopyOutRequest, CopyTextOptions,
    ExecuteBatchRequest, Expectation, IsolationLevel, QueryOptions, QueryRequest, Row, Setting,
    TransactionOptions,
};
use serde_json::Value as Json;

use super::cases::{list, text};
use super::values::parameters;
use crate::harness::client::PATIENCE;

/// A whole number.
pub(super) fn as_u64(json: &Json) -> u64 {
    json.as_u64().expect("a whole number")
}

/// A whole number of an option; 0 where it is not there.
fn number(json: &Json) -> u64 {
    json.as_u64().unwrap_or_default()
}

fn is_true(json: &Json) -> bool {
    json.as_bool().unwrap_or_default()
}

fn duration(milliseconds: Option<&Json>) -> Option<prost_types::Duration> {
    let duration = Duration::from_millis(as_u64(milliseconds?));
    Some(prost_types::Duration::try_from(duration).expect("it is short"))
}

fn access_mode(read_only: &Json) -> i32 {
    let mode = if is_true(read_only) { AccessMode::ReadOnly } else { AccessMode::Unspecified };
    mode.into()
}

/// The caller's own deadline.
pub(super) fn deadline(options: &Json) -> Duration {
    let deadline = options.get("deadline_ms").map(|one| Duration::from_millis(as_u64(one)));
    deadline.unwrap_or(PATIENCE)
}

/// The settings of a call.
pub(super) fn settings(settings: &Json) -> Vec<Setting> {
    let setting =
        |(name, value): (&String, &Json)| Setting { name: name.clone(), value: text(value) };
    settings.as_object().into_iter().flatten().map(setting).collect()
}

/// The options of a call; none where the step has none.
pub(super) fn options(options: &Json) -> Option<QueryOptions> {
    options.is_object().then(|| QueryOptions {
        timeout: duration(options.get("timeout_ms")),
        max_rows: number(&options["max_rows"]),
        max_bytes: number(&options["max_bytes"]),
        access_mode: access_mode(&options["read_only"]),
        tag: text(&options["tag"]),
        idempotent: is_true(&options["idempotent"]),
        idempotency_key: text(&options["key"]),
        settings: settings(&options["settings"]),
        ..QueryOptions::default()
    })
}

/// The options of a transaction.
pub(super) fn transaction(options: &Json) -> Option<TransactionOptions> {
    let isolation_level = match options["isolation"].as_str() {
        Some("read_committed") => IsolationLevel::ReadCommitted,
        Some("repeatable_read") => IsolationLevel::RepeatableRead,
        Some("serializable") => IsolationLevel::Serializable,
        _ => IsolationLevel::Unspecified,
    };
    options.is_object().then(|| TransactionOptions {
        isolation_level: isolation_level.into(),
        access_mode: access_mode(&options["read_only"]),
        deferrable: is_true(&options["deferrable"]),
        idle_timeout: duration(options.get("idle_timeout_ms")),
        max_duration: duration(options.get("max_duration_ms")),
    })
}

/// A statement of a call of its own.
pub(super) fn query(step: &Json) -> QueryRequest {
    QueryRequest {
        database: text(&step["options"]["database"]),
        sql: text(&step["sql"]),
        parameters: parameters(&step["parameters"]),
        options: options(&step["options"]),
    }
}

/// A batch.
pub(super) fn batch(step: &Json) -> ExecuteBatchRequest {
    ExecuteBatchRequest {
        database: text(&step["options"]["database"]),
        statements: statements(step),
        transaction: transaction(&step["transaction"]),
        options: options(&step["options"]),
        dry_run: is_true(&step["dry_run"]),
        ..ExecuteBatchRequest::default()
    }
}

/// The statements of a batch.
pub(super) fn statements(step: &Json) -> Vec<BatchStatement> {
    let repeated = |statement: &Json| {
        let times = statement.get("times").map_or(1, as_u64);
        (0..times).map(|_| one_of_batch(statement)).collect::<Vec<_>>()
    };
    list(&step["statements"]).iter().flat_map(repeated).collect()
}

fn one_of_batch(statement: &Json) -> BatchStatement {
    let expected = statement["expect_rows"].as_object().and_then(|members| members.iter().next());
    let expect = expected.map(|(name, rows)| {
        let rows = as_u64(rows);
        let rows = match name.as_str() {
            "exactly" => Rows::Exactly(rows),
            "at_least" => Rows::AtLeast(rows),
            _ => Rows::AtMost(rows),
        };
        Expectation { rows: Some(rows) }
    });
    let parameters = parameters(&statement["parameters"]);
    BatchStatement { sql: text(&statement["sql"]), parameters, expect }
}

fn format(step: &Json) -> i32 {
    let format = match step["format"].as_str() {
        Some("csv") => CopyFormat::Csv,
        Some("text") => CopyFormat::Text,
        _ => CopyFormat::Rows,
    };
    format.into()
}

fn text_options(step: &Json) -> Option<CopyTextOptions> {
    let is_there = ["header", "delimiter", "null_text"].iter().any(|name| step.get(name).is_some());
    is_there.then(|| CopyTextOptions {
        header: is_true(&step["header"]),
        delimiter: text(&step["delimiter"]),
        null_text: step.get("null_text").map(text),
        ..CopyTextOptions::default()
    })
}

/// The start of a copy in.
pub(super) fn copy_in(step: &Json) -> CopyInStart {
    CopyInStart {
        table: text(&step["table"]),
        columns: list(&step["columns"]).iter().map(text).collect(),
        format: format(step),
        text: text_options(step),
        options: options(&step["options"]),
        ..CopyInStart::default()
    }
}

/// A copy out.
pub(super) fn copy_out(step: &Json) -> CopyOutRequest {
    CopyOutRequest {
        table: text(&step["table"]),
        columns: list(&step["columns"]).iter().map(text).collect(),
        sql: text(&step["sql"]),
        parameters: parameters(&step["parameters"]),
        format: format(step),
        text: text_options(step),
        options: options(&step["options"]),
        ..CopyOutRequest::default()
    }
}

/// Rows to copy in.
pub(super) fn rows(rows: &Json) -> Vec<Row> {
    list(rows).iter().map(|row| Row { values: parameters(row) }).collect()
}
