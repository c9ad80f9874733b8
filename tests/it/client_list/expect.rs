//! The expectations of the list, compared with answers.

use rowgate::value::proto::{Column, DataType, ResultSet};
use serde_json::{Value as Json, json};

use super::cases::{list, text};
use super::values::{found, is_equal};
use crate::harness::client::Failure;

/// The answer to a step. Each step sets what it has.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) result: ResultSet,
    /// The results of a batch.
    pub(super) results: Vec<ResultSet>,
    /// Further members, as they are written in the list.
    pub(super) others: Vec<(&'static str, Json)>,
}

impl From<ResultSet> for Answer {
    fn from(result: ResultSet) -> Self {
        Self { result, ..Self::default() }
    }
}

/// Compares an answer with what a step expects.
pub(super) fn compare(expect: &Json, answer: &Result<Answer, Failure>) -> Result<(), String> {
    match (answer, expect.get("error")) {
        (Err(failure), Some(wanted)) => compare_failure(wanted, failure),
        (Err(failure), None) => Err(format!("it failed: {failure:?}")),
        (Ok(_), Some(wanted)) => Err(format!("it did not fail with {wanted}")),
        (Ok(answer), None) => compare_answer(expect, answer),
    }
}

fn compare_answer(expect: &Json, answer: &Answer) -> Result<(), String> {
    let Some(results) = expect.get("results").map(list) else {
        return compare_result(expect, answer);
    };
    if results.len() != answer.results.len() {
        return Err(format!("{} results", answer.results.len()));
    }
    for (i, (expect, result)) in results.iter().zip(&answer.results).enumerate() {
        let answer = Answer::from(result.clone());
        compare_result(expect, &answer).map_err(|why| format!("result {i}: {why}"))?;
    }
    let mut others = expect.clone();
    others.as_object_mut().expect("an object").remove("results");
    compare_result(&others, answer)
}

fn compare_result(expect: &Json, answer: &Answer) -> Result<(), String> {
    for (member, wanted) in expect.as_object().into_iter().flatten() {
        let is_as_wanted = match member.as_str() {
            "rows" => {
                let rows = list(wanted);
                rows.len() == answer.result.rows.len()
                    && (0..rows.len()).all(|i| is_row(&rows[i], &answer.result, i))
            }
            "first_row" => is_row(wanted, &answer.result, 0),
            "last_row" => is_row(wanted, &answer.result, answer.result.rows.len().wrapping_sub(1)),
            "row_count" => *wanted == row_count(answer),
            "columns" => are_columns(wanted, &answer.result.columns),
            "rows_affected" => *wanted == json!(answer.result.rows_affected),
            "command" => *wanted == json!(answer.result.command),
            other => answer.others.iter().any(|(name, found)| *name == other && wanted == found),
        };
        if !is_as_wanted {
            return Err(format!("{member}: wanted {wanted}, found {}", shown(member, answer)));
        }
    }
    Ok(())
}

/// The number of rows; that of the summary, where data came in their place.
fn row_count(answer: &Answer) -> Json {
    let counted = answer.others.iter().find(|(name, _)| *name == "row_count");
    counted.map_or_else(|| json!(answer.result.rows.len()), |(_, count)| count.clone())
}

fn is_row(expected: &Json, result: &ResultSet, index: usize) -> bool {
    let expected = list(expected);
    let Some(row) = result.rows.get(index) else { return false };
    expected.len() == row.values.len()
        && expected
            .iter()
            .zip(&row.values)
            .zip(&result.columns)
            .all(|((expected, value), column)| is_equal(expected, value, column))
}

fn are_columns(wanted: &Json, columns: &[Column]) -> bool {
    let wanted = list(wanted);
    wanted.len() == columns.len()
        && wanted.iter().zip(columns).all(|(wanted, column)| {
            let found = described(column);
            wanted.as_object().into_iter().flatten().all(|(name, one)| found[name] == *one)
        })
}

/// A column, as it is written in the list.
pub(super) fn described(column: &Column) -> Json {
    json!({
        "name": column.name,
        "type": type_name(column.r#type()),
        "element_type": type_name(column.element_type()),
        "type_name": column.type_name,
    })
}

/// The name of a type, as it is written in the list.
pub(super) fn type_name(data_type: DataType) -> String {
    data_type.as_str_name().trim_start_matches("DATA_TYPE_").to_owned()
}

/// A member of an answer, for a message.
fn shown(member: &str, answer: &Answer) -> String {
    let result = &answer.result;
    let row = |row: &rowgate::value::proto::Row| -> Json {
        let columns = row.values.iter().zip(&result.columns);
        columns.map(|(value, c)| found(value, c.r#type(), c.element_type())).collect()
    };
    let shown = match member {
        "columns" => result.columns.iter().map(described).collect(),
        "rows" | "first_row" | "last_row" | "row_count" => {
            let some: Vec<Json> = result.rows.iter().take(5).map(row).collect();
            json!({"count": row_count(answer), "rows": some})
        }
        "rows_affected" => json!(result.rows_affected),
        "command" => json!(result.command),
        other => {
            let found = answer.others.iter().find(|(name, _)| *name == other);
            found.map_or(Json::Null, |(_, found)| found.clone())
        }
    };
    shown.to_string().chars().take(2000).collect()
}

/// A text, or the texts of a list.
pub(super) fn one_or_more(json: &Json) -> Vec<String> {
    json.as_array().map_or_else(|| vec![text(json)], |several| several.iter().map(text).collect())
}

fn compare_failure(wanted: &Json, failure: &Failure) -> Result<(), String> {
    let report = &failure.report;
    for (member, wanted) in wanted.as_object().into_iter().flatten() {
        let is_one_of = |found: &str| one_or_more(wanted).iter().any(|one| one == found);
        let is_as_wanted = match member.as_str() {
            "code" => is_one_of(&code_name(failure)),
            "reason" => is_one_of(&failure.reason),
            "outcome" => is_one_of(&failure.outcome),
            "sqlstate" => is_one_of(&report.sqlstate),
            "constraint" => is_one_of(&report.constraint),
            "schema" => is_one_of(&report.schema),
            "table" => is_one_of(&report.table),
            "column" => is_one_of(&report.column),
            "position" => *wanted == json!(report.position),
            "line" => *wanted == json!(report.line),
            "failed_statement" => *wanted == json!(report.failed_statement),
            "retryable" => *wanted == json!(failure.retry_after.is_some()),
            "fields" => *wanted == json!(failure.fields()),
            "without" => !format!("{failure:?}").contains(&text(wanted)),
            unknown => return Err(format!("an unknown member {unknown}")),
        };
        if !is_as_wanted {
            return Err(format!("{member}: wanted {wanted}, found {failure:?}"));
        }
    }
    Ok(())
}

/// The name of a code as gRPC writes it: `INVALID_ARGUMENT`.
fn code_name(failure: &Failure) -> String {
    let mut name = String::new();
    for c in format!("{:?}", failure.code).chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}
