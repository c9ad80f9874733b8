//! Describing a statement without running it.

use std::collections::HashMap;

use super::origins::add_origins;
use super::statement_run::columns;
use crate::backend::Description;
use crate::backend::sqlite::authorizer::Phase;
use crate::backend::sqlite::command_tag::command;
use crate::backend::sqlite::error::Step;
use crate::backend::sqlite::parameters;
use crate::backend::sqlite::session::Session;
use crate::error::Result;
use crate::value::DataType;
use crate::value::proto::ParameterType;

/// Describes a statement, with its plan if `include_plan`.
///
/// SQLite types no parameters: each is OTHER.
pub(crate) fn describe(session: &Session, sql: &str, include_plan: bool) -> Result<Description> {
    // The schema stays as it is until the reset rolls this back.
    session.begin()?;
    // One in the cache may have been compiled against another schema.
    let statement = session.prepare_once(sql)?;
    let parameter = ParameterType { r#type: DataType::Other.into(), ..ParameterType::default() };
    let explains = statement.is_explain() != 0;
    let columns = (statement.column_count() > 0).then(|| {
        let mut columns = columns(&statement, None);
        add_origins(session, &statement, sql, &mut columns);
        columns
    });
    let description = Description {
        columns,
        parameters: vec![parameter; parameters::count(&statement)?],
        read_only: explains || statement.readonly(),
        plan: None,
    };
    drop(statement);
    if !include_plan || explains || command(sql).is_empty() {
        return Ok(description);
    }
    Ok(Description { plan: Some(plan(session, sql)?), ..description })
}

/// The plan, one step a line, each indented below the step that it is part of.
fn plan(session: &Session, sql: &str) -> Result<String> {
    // Leading semicolons would end the EXPLAIN before it began.
    let statement = sql.trim_start_matches(|c: char| c == ';' || c.is_whitespace());
    let explain = format!("EXPLAIN QUERY PLAN {statement}");
    let failed = |error| session.translate(error, &explain, Step::Read);
    let mut statement = session.prepare_once(&explain)?;
    session.authorizer.enter(Phase::Run);
    let mut rows = statement.raw_query();
    let mut depths: HashMap<i64, usize> = HashMap::new();
    let mut plan = String::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let id: i64 = row.get(0).map_err(failed)?;
        let parent: i64 = row.get(1).map_err(failed)?;
        let step: String = row.get(3).map_err(failed)?;
        let depth = depths.get(&parent).map_or(0, |depth| depth + 1);
        depths.insert(id, depth);
        if !plan.is_empty() {
            plan.push('\n');
        }
        plan.push_str(&"  ".repeat(depth));
        plan.push_str(&step);
    }
    Ok(plan)
}
