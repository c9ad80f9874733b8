//! What statements may do to a connection, asked by SQLite itself while it compiles them.
//!
//! Connections are shared by callers who must not notice each other, and there is no cheap way to
//! reset one. So whatever would leave a trace in the session is refused before it runs: attached
//! databases, temporary objects, settings, transaction control. The lists name what is allowed;
//! anything else, also what a later SQLite adds, is refused.

use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use crate::error::{Error, ErrorKind};

/// What a connection is doing while SQLite asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It compiles a caller's statement.
    Compile,
    /// It runs one that was compiled before. What is compiled now comes from SQLite's own modules
    /// (VACUUM, full-text search), or is the same statement again after the schema changed.
    Run,
    /// It does what this server itself wants.
    Own,
}

/// Why a statement was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// BEGIN, COMMIT, ROLLBACK, SAVEPOINT, RELEASE.
    TransactionControl,
    /// ATTACH, DETACH, VACUUM INTO.
    Attach,
    /// A temporary table, view, index or trigger.
    Temporary,
    /// A PRAGMA that is not known to only read or to be stored in the database.
    Pragma,
    /// A function that tells of the statement before, which may be another caller's.
    SessionFunction,
    /// Anything that is not known to be harmless.
    Other,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let session = |message, hint: &'static str| {
            Self::new(ErrorKind::InvalidStatement, message)
                .with_condition("SESSION_STATE")
                .with_hint(hint)
        };
        match refusal {
            Refusal::TransactionControl => Self::new(
                ErrorKind::TransactionControl,
                "transaction control is not allowed in SQL",
            )
            .with_hint("Each statement is a transaction of its own; use ExecuteBatch or Transact."),
            Refusal::Attach => session(
                "other database files cannot be attached or written",
                "Configure each file as a database of its own.",
            ),
            Refusal::Temporary => session(
                "temporary objects are not allowed on a shared connection",
                "Use a common table expression, or an ordinary table.",
            ),
            Refusal::Pragma => session(
                "this PRAGMA is not allowed on a shared connection",
                "PRAGMAs that read the schema are allowed, and user_version and application_id.",
            ),
            Refusal::SessionFunction => session(
                "last_insert_rowid, changes and total_changes would tell of another caller's statement",
                "Add a RETURNING clause, or read rows_affected.",
            ),
            Refusal::Other => session(
                "the statement is not allowed on a shared connection",
                "Ask for what it does to be added to the allowed statements.",
            ),
        }
    }
}

/// Decides for one connection; shared with SQLite's callback.
#[derive(Clone)]
pub(crate) struct Authorizer(Arc<Mutex<State>>);

struct State {
    phase: Phase,
    refusal: Option<Refusal>,
}

impl Authorizer {
    /// A guard of a connection that is being set up.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { phase: Phase::Own, refusal: None })))
    }

    /// The callback for SQLite.
    pub(crate) fn authorizer(&self) -> impl FnMut(AuthContext<'_>) -> Authorization + Send + use<> {
        let state = Arc::clone(&self.0);
        move |context| {
            let mut state = state.lock();
            match refusal(&context, state.phase) {
                None => Authorization::Allow,
                Some(refusal) => {
                    state.refusal.get_or_insert(refusal);
                    Authorization::Deny
                }
            }
        }
    }

    /// Says what the connection does from now on; forgets why anything was refused before.
    pub(crate) fn enter(&self, phase: Phase) {
        *self.0.lock() = State { phase, refusal: None };
    }

    /// What the connection does.
    pub(crate) fn phase(&self) -> Phase {
        self.0.lock().phase
    }

    /// Why the last statement was refused, if it was.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.0.lock().refusal
    }
}

fn refusal(context: &AuthContext<'_>, phase: Phase) -> Option<Refusal> {
    let action = &context.action;
    if phase == Phase::Own {
        return None;
    }
    // `CREATE TABLE temp.x` is no CreateTempTable to SQLite. ALTER TABLE looks into the temporary
    // schema and updates it, but there is never anything in it.
    let temporary = context.database_name == Some("temp");
    if temporary && !matches!(action, AuthAction::Read { .. } | AuthAction::Update { .. }) {
        return Some(Refusal::Temporary);
    }
    if is_plain(action) {
        return None;
    }
    if let AuthAction::Pragma { pragma_name, pragma_value } = action {
        let allowed = pragma_is_allowed(pragma_name, pragma_value.is_some());
        return (!allowed).then_some(Refusal::Pragma);
    }
    let running = phase == Phase::Run;
    if let AuthAction::Function { function_name } = action {
        // A trigger's own use of these functions is about rows that it wrote itself.
        let callers = !running && context.accessor.is_none();
        return (callers && tells_of_the_session(function_name))
            .then_some(Refusal::SessionFunction);
    }
    if running && is_inner_work(action) {
        return None;
    }
    Some(if is_temporary(action) {
        Refusal::Temporary
    } else if matches!(action, AuthAction::Attach { .. } | AuthAction::Detach { .. }) {
        Refusal::Attach
    } else if matches!(action, AuthAction::Savepoint { .. } | AuthAction::Transaction { .. }) {
        Refusal::TransactionControl
    } else {
        Refusal::Other
    })
}

/// What only SQLite's own modules ask for while a statement runs; a caller's own would have been
/// refused when it was compiled. VACUUM attaches a nameless scratch file and begins a transaction;
/// full-text search works inside a savepoint.
fn is_inner_work(action: &AuthAction<'_>) -> bool {
    matches!(
        action,
        AuthAction::Attach { filename: "" }
            | AuthAction::Savepoint { .. }
            | AuthAction::Transaction { .. }
    )
}

fn is_plain(action: &AuthAction<'_>) -> bool {
    matches!(
        action,
        AuthAction::Select
            | AuthAction::Read { .. }
            | AuthAction::Recursive
            | AuthAction::Insert { .. }
            | AuthAction::Update { .. }
            | AuthAction::Delete { .. }
            | AuthAction::CreateTable { .. }
            | AuthAction::CreateIndex { .. }
            | AuthAction::CreateView { .. }
            | AuthAction::CreateTrigger { .. }
            | AuthAction::CreateVtable { .. }
            | AuthAction::DropTable { .. }
            | AuthAction::DropIndex { .. }
            | AuthAction::DropView { .. }
            | AuthAction::DropTrigger { .. }
            | AuthAction::DropVtable { .. }
            | AuthAction::AlterTable { .. }
            | AuthAction::Reindex { .. }
            | AuthAction::Analyze { .. }
    )
}

fn is_temporary(action: &AuthAction<'_>) -> bool {
    matches!(
        action,
        AuthAction::CreateTempTable { .. }
            | AuthAction::CreateTempIndex { .. }
            | AuthAction::CreateTempView { .. }
            | AuthAction::CreateTempTrigger { .. }
            | AuthAction::DropTempTable { .. }
            | AuthAction::DropTempIndex { .. }
            | AuthAction::DropTempView { .. }
            | AuthAction::DropTempTrigger { .. }
    )
}

fn tells_of_the_session(function: &str) -> bool {
    ["last_insert_rowid", "changes", "total_changes"]
        .iter()
        .any(|name| function.eq_ignore_ascii_case(name))
}

/// Whether a PRAGMA leaves nothing behind but what it stores in the database itself. SQLite's
/// modules ask some of them too (`page_size`, `data_version`).
fn pragma_is_allowed(name: &str, has_value: bool) -> bool {
    let with_argument = [
        "table_info",
        "table_xinfo",
        "table_list",
        "index_list",
        "index_info",
        "index_xinfo",
        "foreign_key_list",
        "foreign_key_check",
        "integrity_check",
        "quick_check",
        "user_version",
        "application_id",
    ];
    let alone = [
        "auto_vacuum",
        "collation_list",
        "compile_options",
        "data_version",
        "database_list",
        "encoding",
        "foreign_keys",
        "freelist_count",
        "function_list",
        "journal_mode",
        "max_page_count",
        "module_list",
        "page_count",
        "page_size",
        "pragma_list",
        "schema_version",
        "synchronous",
    ];
    let is = |known: &&str| name.eq_ignore_ascii_case(known);
    with_argument.iter().any(is) || (!has_value && alone.iter().any(is))
}
