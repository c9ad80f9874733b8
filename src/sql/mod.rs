//! The facts known of a statement from its text.
//!
//! Readers have opposite duties. [`mod@transaction_control`] and [`client_copy`] *reject*: they find transaction
//! control and COPY with the client, whatever comments stand before it. [`classify`] *admits*: a statement that it
//! understands completely, and that is a read or plain data modification, may be treated as such once a backend
//! has checked its functions and tables. A statement that does not parse is a write that may leave
//! anything behind. This is convenience, never safety: the database and the session's checks decide.

mod analysis;
pub(crate) mod class;
mod classify;
mod client_copy;
mod comments;
mod custom_setting_names;
mod definition_change;
mod dialects;
mod first_statement;
mod mysql;
mod null_extension;
mod one_query;
mod parameter_count;
mod partial_commit;
mod plan_invalidation;
mod plan_lifetime;
mod scanner;
mod session_state;
mod split;
mod summary;
mod transaction_control;

pub(crate) use analysis::{Analysis, Analyzer};
pub(crate) use class::StatementClass;
pub(crate) use comments::leading_comments;
pub(crate) use custom_setting_names::CustomSettings;
pub(crate) use definition_change::changes_definitions;
pub(crate) use dialects::Dialect;
pub(crate) use first_statement::{FirstStatement, OpenConstruct, StatementReader};
pub(crate) use mysql::{
    Definition, MysqlStatement, MysqlTable, MysqlText, UnitAdmission, Unsendable,
};
pub(crate) use null_extension::may_extend_with_nulls;
pub(crate) use one_query::one_query;
pub(crate) use parameter_count::excess_parameter;
pub(crate) use partial_commit::is_atomic;
pub(crate) use plan_invalidation::{invalidates_plans, keeps_meaning, may_run_code};
pub(crate) use plan_lifetime::PlanLifetime;
pub(crate) use scanner::{Scanner, SqlToken, TokenKind, is_among};
pub(crate) use session_state::{EffectLifetime, SessionState};
pub(crate) use split::{SplitStatement, split_statements};
pub(crate) use transaction_control::transaction_control;

#[cfg(test)]
mod tests;
