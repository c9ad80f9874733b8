//! Parameters that are values of earlier results of the same batch.

use std::borrow::Cow;

use prost::Message as _;

use crate::error::{Error, ErrorKind, Result};
use crate::value::proto::ResultSet;
use crate::value::{Kind, ResultReference, Row, Value};

/// The reason of a reference that leads to no value.
const CONDITION: &str = "RESULT_REFERENCE";

/// Tells whether a parameter is a value of an earlier result.
pub(crate) fn refers_to_result(parameters: &[Value]) -> bool {
    parameters.iter().any(|parameter| matches!(parameter.kind, Some(Kind::ResultReference(_))))
}

/// Puts the values of results in the places of the references to them, which take `max_bytes` together at most. `results`
/// are those of the statements before.
pub(crate) fn resolved<'a>(
    parameters: &'a [Value],
    results: &[ResultSet],
    max_bytes: u64,
) -> Result<Cow<'a, [Value]>> {
    if !refers_to_result(parameters) {
        return Ok(parameters.into());
    }
    let mut left = max_bytes;
    let mut limited = |reference: &ResultReference| {
        let value = value(reference, results)?;
        let bytes = u64::try_from(value.encoded_len()).unwrap_or(u64::MAX);
        left = left.checked_sub(bytes).ok_or("the values referred to are larger than max_bytes")?;
        Ok(value)
    };
    let resolve = |(index, parameter): (usize, &Value)| match &parameter.kind {
        Some(Kind::ResultReference(reference)) => limited(reference).map_err(|why: String| {
            let field = format!("parameters[{index}]");
            Error::field(ErrorKind::FailedPrecondition, field, why).with_condition(CONDITION)
        }),
        _ => Ok(parameter.clone()),
    };
    parameters.iter().enumerate().map(resolve).collect()
}

/// Returns the value that a reference leads to, or the reason why there is none.
fn value(reference: &ResultReference, results: &[ResultSet]) -> Result<Value, String> {
    let ResultReference { statement, column } = reference;
    let result = usize::try_from(*statement).ok().and_then(|index| results.get(index));
    let result = result.ok_or_else(|| format!("there is no result of statement {statement}"))?;
    if !result.has_columns {
        return Err(format!("statement {statement} returns no rows: it has no RETURNING"));
    }
    let mut rows = result.encoded.iter();
    let row = match (rows.next(), rows.next()) {
        (Some(row), None) => row,
        (found, _) => {
            let found = if found.is_some() { "several rows" } else { "no row" };
            return Err(format!("statement {statement} returned {found} where it refers to one"));
        }
    };
    let named = |name: &str| result.columns.iter().filter(move |one| one.name == name).count();
    let index = result.columns.iter().position(|one| one.name == *column);
    let Some(index) = index.filter(|_| named(column) == 1) else {
        let which = if named(column) == 0 { "no column" } else { "several columns" };
        return Err(format!("statement {statement} returned {which} of the name \"{column}\""));
    };
    let row = Row::decode(row).ok().and_then(|row| row.values.into_iter().nth(index));
    row.ok_or_else(|| format!("the row of statement {statement} cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{Column, RowEncoder, RowsField};

    fn result(columns: &[&str], rows: &[Vec<Value>]) -> ResultSet {
        let mut encoder = RowEncoder::new(RowsField::OfResult);
        for values in rows {
            encoder.push(&Row { values: values.clone() }.encode_to_vec());
        }
        let column = |name: &&str| Column { name: (*name).to_owned(), ..Column::default() };
        let columns = columns.iter().map(column).collect();
        ResultSet { has_columns: true, columns, encoded: encoder.take(), ..ResultSet::default() }
    }

    fn reference(statement: u32, column: &str) -> Value {
        Kind::ResultReference(ResultReference { statement, column: column.to_owned() }).into()
    }

    #[test]
    fn a_reference_becomes_the_value_of_the_single_row() {
        let one = vec![Value::int64(7), Value::null(), Value::text("x")];
        let results = [result(&[], &[]), result(&["id", "none", "name"], &[one])];
        let parameters =
            [Value::bool(true), reference(1, "name"), reference(1, "id"), reference(1, "none")];
        let expected = [Value::bool(true), Value::text("x"), Value::int64(7), Value::null()];
        assert_eq!(*resolved(&parameters, &results, 1 << 20).unwrap(), expected);
        assert!(matches!(resolved(&expected, &results, 1 << 20).unwrap(), Cow::Borrowed(_)));
    }

    #[test]
    fn values_that_are_referred_to_are_bounded_together() {
        let results = [result(&["name"], &[vec![Value::text("0123456789")]])];
        let two = [reference(0, "name"), reference(0, "name")];
        assert!(resolved(&two, &results, 24).is_ok(), "of 12 bytes each");
        let error = resolved(&two, &results, 23).expect_err("they are larger");
        assert!(error.message().starts_with("parameters[1]: "), "{error}");
        assert!(error.message().contains("larger than max_bytes"), "{error}");
    }

    #[test]
    fn a_reference_that_leads_to_no_value_is_an_error_that_says_why() {
        let row = || vec![Value::int64(1), Value::int64(2)];
        let results = [
            result(&["id", "id"], &[row()]),
            result(&["id", "b"], &[]),
            result(&["id", "b"], &[row(), row()]),
            ResultSet { rows_affected: 1, ..ResultSet::default() },
        ];
        for (statement, column, expected) in [
            (0, "id", "several columns of the name \"id\""),
            (0, "b", "no column of the name \"b\""),
            (1, "id", "statement 1 returned no row"),
            (2, "id", "statement 2 returned several rows"),
            (3, "id", "statement 3 returns no rows: it has no RETURNING"),
            (4, "id", "no result of statement 4"),
        ] {
            let parameters = [Value::null(), reference(statement, column)];
            let error = resolved(&parameters, &results, 1 << 20).expect_err("it leads nowhere");
            assert!(error.message().starts_with("parameters[1]: "), "{error}");
            assert!(error.message().contains(expected), "{error}");
            assert_eq!(error.reason(), CONDITION);
            assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
        }
    }
}
