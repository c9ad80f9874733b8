//! The schemas in which calls may share a commit.

use crate::backend::sqlite::authorizer::Phase;
use crate::backend::sqlite::session::Session;

/// Finds what forbids it: a constraint that may be checked by the COMMIT that all share instead of by the statement
/// itself, or a table of a module, which might not follow savepoints.
const FIND: &str = "SELECT 1 FROM sqlite_schema WHERE sql LIKE '%deferr%' \
    OR (type = 'table' AND coalesce(rootpage, 0) = 0)";

/// Tells whether calls may share the open transaction.
pub(super) fn may_share_commit(session: &Session) -> bool {
    session.authorizer.enter(Phase::Internal);
    let may_share = look_up(session).unwrap_or(false);
    session.authorizer.enter(Phase::Compile);
    may_share
}

fn look_up(session: &Session) -> rusqlite::Result<bool> {
    let connection = &session.connection;
    let version = connection.query_row("PRAGMA schema_version", [], |row| row.get(0))?;
    if let Some((of_version, known)) = session.shared_schema.get()
        && of_version == version
    {
        return Ok(known);
    }
    let may_share = !connection.prepare(FIND)?.exists([])?;
    session.shared_schema.set(Some((version, may_share)));
    Ok(may_share)
}
