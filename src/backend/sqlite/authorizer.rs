//! The authorizer: the callback that SQLite asks, while it compiles a statement, for permission.
//!
//! Connections are shared by callers who must not notice each other, and there is no cheap way to
//! reset one. So whatever would change the session is denied before it runs: attached
//! databases, temporary objects, settings, transaction control. The lists name what is allowed;
//! anything else, also additions of a later SQLite, is denied.

use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use crate::error::{Error, ErrorKind};
use crate::sql::is_among;

/// The activity of a connection while SQLite asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Compiling a caller's statement.
    Compile,
    /// Running one that was compiled before. What is compiled now comes from SQLite's own modules
    /// (VACUUM, full-text search), or is the same statement after the schema changed.
    Run,
    /// Running this server's own SQL.
    Internal,
}

/// The reason why a statement was denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denial {
    /// BEGIN, COMMIT, ROLLBACK, SAVEPOINT, RELEASE.
    TransactionControl,
    /// ATTACH, DETACH, VACUUM INTO.
    Attach,
    /// A temporary table, view, index or trigger.
    Temporary,
    /// A PRAGMA that is not known to only read, to be stored in the database or to end with a transaction.
    Pragma,
    /// A function that exposes the statement before, which may be another caller's.
    SessionFunction,
    /// Anything that is not known to be harmless.
    Other,
}

impl From<Denial> for Error {
    fn from(denial: Denial) -> Self {
        let session = |message, hint: &'static str| {
            Self::new(ErrorKind::InvalidStatement, message)
                .with_condition("SESSION_STATE")
                .with_hint(hint)
        };
        match denial {
            Denial::TransactionControl => Self::new(
                ErrorKind::TransactionControl,
                "transaction control is not allowed in SQL",
            )
            .with_hint("Each statement is a transaction of its own; use ExecuteBatch or Transact."),
            Denial::Attach => session(
                "other database files cannot be attached or written",
                "Configure each file as a database of its own.",
            ),
            Denial::Temporary => session(
                "temporary objects are not allowed on a shared connection",
                "Use a common table expression, or an ordinary table.",
            ),
            Denial::Pragma => session(
                "this PRAGMA is not allowed on a shared connection",
                "PRAGMAs that read are allowed, and those that set what the database itself keeps, or what is set.",
            ),
            Denial::SessionFunction => session(
                "last_insert_rowid, changes and total_changes would tell of another caller's statement",
                "Add a RETURNING clause, or read rows_affected.",
            ),
            Denial::Other => session(
                "the statement is not allowed on a shared connection",
                "Ask for what it does to be added to the allowed statements.",
            ),
        }
    }
}

/// Decides for one connection; shared with SQLite's callback.
#[derive(Clone)]
pub(crate) struct Authorizer(Arc<Mutex<AuthorizerState>>);

struct AuthorizerState {
    phase: Phase,
    denial: Option<Denial>,
}

impl Authorizer {
    /// The authorizer of a connection that is being set up.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(AuthorizerState { phase: Phase::Internal, denial: None })))
    }

    /// The callback for SQLite.
    pub(crate) fn callback(&self) -> impl FnMut(AuthContext<'_>) -> Authorization + Send + use<> {
        let state = Arc::clone(&self.0);
        move |context| {
            let mut state = state.lock();
            match denial(&context, state.phase) {
                None => Authorization::Allow,
                Some(denial) => {
                    state.denial.get_or_insert(denial);
                    Authorization::Deny
                }
            }
        }
    }

    /// Enters a phase, and forgets any earlier denial.
    pub(crate) fn enter(&self, phase: Phase) {
        *self.0.lock() = AuthorizerState { phase, denial: None };
    }

    /// The present phase.
    pub(crate) fn phase(&self) -> Phase {
        self.0.lock().phase
    }

    /// The reason why the last statement was denied, if it was.
    pub(crate) fn denial(&self) -> Option<Denial> {
        self.0.lock().denial
    }
}

/// Functions that tell of the statement before.
const SESSION_FUNCTIONS: &str = "last_insert_rowid changes total_changes";

fn denial(context: &AuthContext<'_>, phase: Phase) -> Option<Denial> {
    let action = &context.action;
    if phase == Phase::Internal {
        return None;
    }
    // `CREATE TABLE temp.x` is no CreateTempTable to SQLite.
    if context.database_name == Some("temp") && !is_on_temporary_schema(action) {
        return Some(Denial::Temporary);
    }
    if is_plain(action) {
        return None;
    }
    if let AuthAction::Pragma { pragma_name, pragma_value } = action {
        let allowed = pragma_is_allowed(pragma_name, *pragma_value);
        return (!allowed).then_some(Denial::Pragma);
    }
    let running = phase == Phase::Run;
    if let AuthAction::Function { function_name } = action {
        // A view or trigger that uses them tells of the same caller's statements (`figures`).
        let callers = !running && context.accessor.is_none();
        return (callers && is_among(function_name, SESSION_FUNCTIONS))
            .then_some(Denial::SessionFunction);
    }
    if running && is_inner_work(action) {
        return None;
    }
    Some(if is_temporary(action) {
        Denial::Temporary
    } else if matches!(action, AuthAction::Attach { .. } | AuthAction::Detach { .. }) {
        Denial::Attach
    } else if matches!(action, AuthAction::Savepoint { .. } | AuthAction::Transaction { .. }) {
        Denial::TransactionControl
    } else {
        Denial::Other
    })
}

/// Tells whether this reads or updates the list of temporary objects, as ALTER TABLE does. It has nothing of any caller's.
fn is_on_temporary_schema(action: &AuthAction<'_>) -> bool {
    const SCHEMA: &str = "sqlite_temp_master sqlite_temp_schema sqlite_master sqlite_schema";
    let (AuthAction::Read { table_name, .. } | AuthAction::Update { table_name, .. }) = action
    else {
        return false;
    };
    is_among(table_name, SCHEMA)
}

/// Tells whether only SQLite's own modules ask for this while a statement runs; a caller's own would have been
/// denied when it was compiled. VACUUM attaches a nameless scratch file and begins a transaction;
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

/// Tells whether a PRAGMA changes nothing but the database itself, or its own transaction. SQLite's
/// modules use some of them, too (`page_size`, `data_version`).
fn pragma_is_allowed(name: &str, value: Option<&str>) -> bool {
    const ALWAYS: &str = "\
        table_info table_xinfo table_list index_list index_info index_xinfo foreign_key_list \
        foreign_key_check integrity_check quick_check user_version application_id optimize";
    const WITHOUT_VALUE: &str = "\
        analysis_limit auto_vacuum automatic_index busy_timeout cache_size cell_size_check \
        collation_list compile_options data_version database_list encoding foreign_keys \
        freelist_count function_list journal_mode journal_size_limit locking_mode max_page_count \
        mmap_size module_list page_count page_size pragma_list recursive_triggers schema_version \
        secure_delete synchronous temp_store threads wal_autocheckpoint";
    // Libraries send them first; each is set already.
    const AS_IT_IS: [(&str, &str); 2] =
        [("foreign_keys", "on yes true 1"), ("journal_mode", "wal")];
    is_among(name, ALWAYS)
        || match value {
            None => is_among(name, WITHOUT_VALUE),
            Some(value) => AS_IT_IS
                .iter()
                .any(|(set, to)| name.eq_ignore_ascii_case(set) && is_among(value, to)),
        }
}
