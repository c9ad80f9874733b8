//! The description of a statement that is not run.

use super::admitted_text::text_of;
use crate::backend::mysql::codec::column_types::describe_column;
use crate::backend::mysql::error::is_not_preparable;
use crate::backend::mysql::protocol::answers::PreparedAnswer;
use crate::backend::mysql::protocol::commands::Command;
use crate::backend::mysql::protocol::greeting::Flavor;
use crate::backend::mysql::session::Session;
use crate::backend::{DescribeRequest, Description};
use crate::error::Result;
use crate::sql::MysqlText;
use crate::value::Column;
use crate::value::proto::ParameterType;

/// Describes a statement.
pub(crate) async fn describe(
    session: &mut Session,
    request: &DescribeRequest,
) -> Result<Description> {
    let DescribeRequest { sql, analysis, include_plan, .. } = request;
    let facts = Session::facts(analysis)?;
    let text = text_of(&facts)?;
    let effects = session.effects_of(&facts).await?;
    // A kept one may have the columns of tables that others have taken the place of.
    session.connection().forget_statement(sql);
    let answers = session.prepare_once(text).await?;
    let answer = match answers {
        Ok(answer) => answer,
        Err(error) if is_not_preparable(&error) && text.order.is_empty() => {
            return Ok(Description { read_only: !effects.may_write, ..Description::default() });
        }
        Err(error) => return Err(session.refused(&error, sql)),
    };
    session.connection().queue_own(Command::CloseStatement(answer.id));
    let columns =
        (!answer.columns.is_empty()).then(|| answer.columns.iter().map(describe_column).collect());
    let plan = if *include_plan && is_explained(analysis.command) && text.order.is_empty() {
        plan(session, text).await?
    } else {
        None
    };
    Ok(Description {
        columns,
        parameters: parameters(text, &answer, session),
        read_only: !effects.may_write && effects.is_plain,
        plan,
    })
}

/// The types of the parameters, where the server tells them: MariaDB converts whatever it gets.
fn parameters(
    text: &MysqlText,
    answer: &PreparedAnswer,
    session: &mut Session,
) -> Vec<ParameterType> {
    let are_typed = session.connection().server.version.flavor == Flavor::MySql;
    let count = text.order.iter().copied().max().unwrap_or_default();
    let describe = |number: u16| {
        let place = text.order.iter().position(|known| *known == number);
        let definition = place.and_then(|place| answer.parameters.get(place));
        let typed = definition.filter(|_| are_typed).map(|definition| {
            let Column { r#type, element_type, type_name, type_oid, .. } =
                describe_column(definition);
            ParameterType { r#type, element_type, type_name, type_oid }
        });
        typed.unwrap_or_default()
    };
    (1..=count).map(describe).collect()
}

/// Returns true for commands that EXPLAIN takes.
fn is_explained(command: &str) -> bool {
    ["SELECT", "WITH", "TABLE", "VALUES", "INSERT", "REPLACE", "UPDATE", "DELETE"]
        .contains(&command)
}

/// Returns the plan of a statement; `None` from a server that plans none.
async fn plan(session: &mut Session, text: &MysqlText) -> Result<Option<String>> {
    let explain = format!("EXPLAIN FORMAT=JSON {}", text.sql);
    match session.query_own(&[explain]).await {
        Ok(answers) => {
            let first = answers.into_iter().flatten().flatten().flatten().next();
            Ok(first)
        }
        // The statement itself was prepared, so that it is the plan that cannot be had.
        Err(error) if error.report().is_some() => Ok(None),
        Err(error) => Err(error),
    }
}
