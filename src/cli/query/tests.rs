//! The arguments and values of the tests.

use clap::Parser as _;

use super::args::Args;
use crate::cli::{Cli, Command};
use crate::value::proto::{ArrayValue, DataType, RecordValue};
use crate::value::{Column, Kind, Value};

/// Parses the arguments of the command.
pub(crate) fn parse(arguments: &[&str]) -> Args {
    let all = ["rowgate", "query"].iter().chain(arguments);
    match Cli::try_parse_from(all).unwrap().command {
        Some(Command::Query(args)) => args,
        other => panic!("parsed as {other:?}"),
    }
}

/// A column of a type.
pub(crate) fn column(name: &str, kind: DataType) -> Column {
    Column { name: name.to_owned(), r#type: kind.into(), ..Column::default() }
}

/// An array value.
pub(crate) fn array(elements: Vec<Value>, dimensions: &[i32], low: &[i32]) -> Value {
    Kind::ArrayValue(ArrayValue {
        elements,
        dimensions: dimensions.to_vec(),
        lower_bounds: low.to_vec(),
    })
    .into()
}

/// A record value.
pub(crate) fn record(fields: Vec<Value>) -> Value {
    Kind::RecordValue(RecordValue { fields }).into()
}
