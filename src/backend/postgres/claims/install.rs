//! The schema `rowgate` in a database: its SQL, to be run here or by somebody else.

use crate::backend::postgres::connection::claim_signature::{StoredKey, hex};
use crate::backend::postgres::idempotency::execute;
use crate::backend::postgres::session::Session;
use crate::config::ClaimsSettings;
use crate::error::{Error, ErrorKind, Result};
use crate::value::Value;

/// Becomes the owner of the schema, which it creates; and the installer again.
const AS_OWNER: &str = include_str!("as_owner.sql");
const AS_BEFORE: &str = include_str!("as_before.sql");

/// The functions and the table that the owner creates.
const FUNCTIONS: &str = include_str!("install.sql");

/// Keeps keys out of the server's log, as far as the role may.
const QUIETLY: &str = "\
DO $quietly$
BEGIN
    SET LOCAL log_statement TO 'none';
    SET LOCAL log_min_duration_statement TO -1;
    SET LOCAL log_min_error_statement TO panic;
EXCEPTION WHEN insufficient_privilege THEN
    NULL;
END
$quietly$;
";

const ADD_KEY: &str = "insert into rowgate.claim_keys (id, inner_pad, outer_pad) values ($1, $2, $3) \
    on conflict (id) do nothing";

/// The SQL of the schema. It holds no secret.
pub(crate) fn schema_sql() -> String {
    let about = "\
-- Claims of Rowgate's callers in policies of row-level security: rowgate.claim('tenant'). This holds no secret and may
-- run again. It needs a superuser, or a role that may create roles, and schemas in this database.
";
    format!("{about}BEGIN;\n{AS_OWNER}{FUNCTIONS}\n{AS_BEFORE}COMMIT;\n")
}

/// The SQL that makes the keys of a configuration those of the database. It is as secret as they are.
pub(crate) fn keys_sql(settings: &ClaimsSettings) -> String {
    let keys = keys(settings);
    let insert = |key: &StoredKey| {
        let StoredKey { id, inner_pad, outer_pad } = key;
        let [inner, outer] = [hex(inner_pad), hex(outer_pad)];
        format!(
            "INSERT INTO rowgate.claim_keys (id, inner_pad, outer_pad) VALUES ('{id}', \
             pg_catalog.decode('{inner}', 'hex'), pg_catalog.decode('{outer}', 'hex')) ON CONFLICT (id) DO NOTHING;\n"
        )
    };
    let about =
        "-- The keys that sign claims of Rowgate's callers. Keep this as secret as they are.\n";
    let inserts: String = keys.iter().map(insert).collect();
    let remove = remove_others(&keys);
    format!("{about}BEGIN;\n{QUIETLY}{AS_OWNER}{inserts}{remove};\n{AS_BEFORE}COMMIT;\n")
}

/// Creates the schema, or brings it up to date, and makes the keys of the configuration its keys. Returns their number.
pub(crate) async fn install(session: &mut Session, settings: &ClaimsSettings) -> Result<usize> {
    let keys = keys(settings);
    if keys.is_empty() {
        let message = "databases.NAME.claims.key is not set";
        return Err(Error::new(ErrorKind::FailedPrecondition, message)
            .with_hint("Give it a value, as of openssl rand -hex 32."));
    }
    session.run(&format!("BEGIN;\n{QUIETLY}")).await?;
    session.run(&format!("{AS_OWNER}{FUNCTIONS}")).await?;
    for StoredKey { id, inner_pad, outer_pad } in &keys {
        let values = [Value::text(id), Value::bytes(*inner_pad), Value::bytes(*outer_pad)];
        execute(session, ADD_KEY, &values).await?;
    }
    let remove = remove_others(&keys);
    session.run(&format!("{remove};\n{AS_BEFORE}COMMIT")).await?;
    Ok(keys.len())
}

fn keys(settings: &ClaimsSettings) -> Vec<StoredKey> {
    settings.key.iter().chain(&settings.other_key).map(StoredKey::new).collect()
}

/// The statement that removes all other keys.
fn remove_others(keys: &[StoredKey]) -> String {
    let ids: Vec<_> = keys.iter().map(|key| key.id.as_str()).collect();
    format!(
        "DELETE FROM rowgate.claim_keys WHERE id OPERATOR(pg_catalog.<>) ALL ('{{{}}}')",
        ids.join(",")
    )
}
