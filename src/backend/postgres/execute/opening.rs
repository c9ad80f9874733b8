//! The opening of a transaction: BEGIN and its preamble, in one flight.
//!
//! Each part of the preamble is a request of its own, so that an error is that of one part, and its values are
//! parameters: no text that the server logs or shows has them.

use std::sync::Arc;

use crate::backend::postgres::claims::{SignedClaims, refused, sign};
use crate::backend::postgres::commit::{begin, open_transaction};
use crate::backend::postgres::connection::pipeline::{
    PipelineEnd, PipelineResponses, PipelineStep,
};
use crate::backend::postgres::connection::prepared::Prepared;
use crate::backend::postgres::session::Session;
use crate::backend::postgres::session::failure::of_own_statement;
use crate::backend::result_quota::ResultQuota;
use crate::backend::{Preamble, TransactionMode};
use crate::error::{Error, FieldViolation, Result};
use crate::value::Value;

/// Gives the transaction a setting.
const SET: &str = "select pg_catalog.set_config($1, $2, true)";

/// The requests that open a transaction.
pub(crate) struct Opening {
    begin: String,
    parts: Vec<OpeningPart>,
}

/// A statement behind BEGIN.
struct OpeningPart {
    prepared: Arc<Prepared>,
    values: Vec<Value>,
    purpose: Purpose,
}

/// The purpose of a part, by which its error is explained.
enum Purpose {
    /// It gives the transaction the claims of its caller.
    Claims,
    /// It gives the transaction the setting of this field of the request.
    Setting(String),
}

impl Opening {
    /// Prepares the requests, outside of any transaction.
    pub(crate) async fn prepare(
        session: &mut Session,
        mode: TransactionMode,
        preamble: &Preamble,
    ) -> Result<Self> {
        let begin = begin(mode, &session.connection().capabilities)?;
        let mut parts = Vec::new();
        if let Some(claims) = &preamble.claims {
            // Before any setting of the call is in force.
            let SignedClaims { set, values } = sign(session, claims).await?;
            let values = Vec::from(values);
            parts.push(OpeningPart { prepared: set, values, purpose: Purpose::Claims });
        }
        if !preamble.settings.is_empty() {
            let set = session.prepare(SET).await;
            let set = set.map_err(|error| of_own_statement(error, &session.database.name))?;
            for (index, setting) in preamble.settings.iter().enumerate() {
                parts.push(OpeningPart {
                    prepared: Arc::clone(&set),
                    values: vec![Value::text(&setting.name), Value::text(&setting.value)],
                    purpose: Purpose::Setting(format!("{}[{index}]", preamble.settings_field)),
                });
            }
        }
        // Its own statements have one meaning: they are prepared before.
        session.begins_with(preamble).await?;
        Ok(Self { begin, parts })
    }

    /// The number of requests.
    pub(crate) fn len(&self) -> usize {
        1 + self.parts.len()
    }

    /// The requests, to be sent before all others of the transaction.
    pub(crate) fn steps(&self) -> Result<Vec<PipelineStep<'_>>> {
        let mut steps = vec![PipelineStep::script(self.begin.as_str())];
        for OpeningPart { prepared, values, .. } in &self.parts {
            let parameters = prepared.encode(values)?;
            steps.push(PipelineStep::OwnStatement(Arc::clone(prepared), parameters));
        }
        Ok(steps)
    }

    /// Takes the answers to the requests, and returns the first error.
    pub(crate) fn check(
        &self,
        session: &mut Session,
        responses: &mut PipelineResponses,
    ) -> Result<()> {
        let begun = session.step_output(responses.next(), "");
        begun.map_err(|error| of_own_statement(error, &session.database.name))?;
        for part in &self.parts {
            let answer = session.step_output(responses.next(), "");
            answer.map_err(|error| part.purpose.explain(session, error))?;
        }
        Ok(())
    }
}

impl Purpose {
    /// Names what the request has to do with an error reply.
    fn explain(&self, session: &mut Session, error: Error) -> Error {
        match self {
            Self::Claims => refused(session, error),
            Self::Setting(field) if error.report().is_some() => {
                let description = error.message().to_owned();
                error.with_violation(FieldViolation { field: field.clone(), description })
            }
            Self::Setting(_) => error,
        }
    }
}

/// Opens a transaction with its preamble, and waits for it.
pub(crate) async fn open(
    session: &mut Session,
    mode: TransactionMode,
    preamble: &Preamble,
) -> Result<()> {
    if preamble.is_empty() {
        return open_transaction(session, mode).await;
    }
    let opening = Opening::prepare(session, mode, preamble).await?;
    let quota = ResultQuota::unlimited();
    let mut responses =
        session.send_pipeline(opening.steps()?, &quota, PipelineEnd::NoCommit).await?;
    opening.check(session, &mut responses)
}
