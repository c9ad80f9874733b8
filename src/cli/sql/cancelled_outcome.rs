//! The outcome of a statement alone that is cancelled: the server answers nothing any more.

use std::time::Duration;

use super::catalog_questions::READS_ONLY;
use super::server_connection::Connection;
use crate::error::Outcome;
use crate::sql::{Analyzer, Dialect, Scanner, StatementClass, TokenKind, is_among};

/// The longest wait for what the catalogs say.
const CATALOG_WAIT: Duration = Duration::from_secs(1);

/// The knowledge about a statement that its text gives.
#[derive(Debug, PartialEq, Eq)]
enum Reading {
    Certain,
    /// It reads, if the catalogs know nothing of these that may write.
    IfCatalogsSay {
        functions: String,
        relations: String,
        columns: String,
    },
    Unknown,
}

/// Returns the outcome of a statement that was cancelled; whatever is not known to read may have written.
pub(super) async fn cancelled_outcome(sql: &str, connection: &Connection) -> Outcome {
    let reads = connection.is_read_only()
        || match reading(sql, connection.database.dialect) {
            Reading::Certain => true,
            Reading::Unknown => false,
            Reading::IfCatalogsSay { functions, relations, columns } => {
                let names = [&*functions, &*relations, &*columns];
                let request = connection.question(READS_ONLY, &names);
                let answer = tokio::time::timeout(CATALOG_WAIT, connection.first_text(request));
                matches!(answer.await, Ok(Ok(answer)) if answer == "true")
            }
        };
    if reads { Outcome::NotApplied } else { Outcome::Unknown }
}

fn reading(sql: &str, dialect: Dialect) -> Reading {
    let is_certain = match dialect {
        Dialect::Postgres => match &Analyzer::new(dialect, 0).analyze(sql).class {
            StatementClass::Read(uses) if !uses.exotic => {
                return of_names(&uses.functions, &uses.relations, &uses.attributes);
            }
            StatementClass::Read(_) | StatementClass::Change(_) | StatementClass::Other => false,
        },
        // Its functions write nothing, as no SQL is in them; nor do views.
        Dialect::Sqlite => {
            let mut words =
                Scanner::new(sql, dialect).filter(|token| token.kind == TokenKind::Word);
            words.next().is_some_and(|first| {
                is_among(first.text, "SELECT VALUES")
                    || is_among(first.text, "WITH")
                        && !words.any(|word| is_among(word.text, "DELETE INSERT REPLACE UPDATE"))
            })
        }
        // Functions that nothing marks may write, also within views.
        Dialect::Mysql => false,
    };
    if is_certain { Reading::Certain } else { Reading::Unknown }
}

/// The knowledge about a query of PostgreSQL that uses these.
fn of_names(functions: &[String], relations: &[String], columns: &[String]) -> Reading {
    // Functions of other schemas are somebody's own.
    let is_own = functions.iter().any(|name| name.contains('.'));
    let mut names = functions.iter().chain(relations).chain(columns);
    if is_own || names.any(|name| name.contains('\n')) {
        return Reading::Unknown;
    }
    Reading::IfCatalogsSay {
        functions: functions.join("\n"),
        relations: relations.join("\n"),
        columns: columns.join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_to_read_is_not_applied_when_it_is_cancelled() {
        use Dialect::{Mysql, Postgres, Sqlite};
        for (sql, dialect) in [
            ("select count(*) from t, u", Sqlite),
            ("-- a\nvalues (1)", Sqlite),
            ("with r(n) as (select 1 union all select 2) select max(n) from r", Sqlite),
        ] {
            assert_eq!(reading(sql, dialect), Reading::Certain, "{sql}");
        }
        let asked = |functions: &str, relations: &str, columns: &str| Reading::IfCatalogsSay {
            functions: functions.to_owned(),
            relations: relations.to_owned(),
            columns: columns.to_owned(),
        };
        let read = |sql| reading(sql, Postgres);
        assert_eq!(read("select a from t, s.u order by b"), asked("", "s.u\nt", ""));
        assert_eq!(read("select pg_sleep(1), count(*)"), asked("count\npg_sleep", "", ""));
        assert_eq!(read("select x.f from t x"), asked("", "t", "f"));
        for (sql, dialect) in [
            ("select s.f()", Postgres),
            ("select a from t for update", Postgres),
            ("with w as (delete from t returning a) select a from w", Postgres),
            ("with w as (select 1) insert into t select * from w", Sqlite),
            ("pragma journal_mode = wal", Sqlite),
            ("explain select 1", Sqlite),
            ("insert into t values (1)", Sqlite),
            ("", Sqlite),
            ("select 1", Mysql),
        ] {
            assert_eq!(reading(sql, dialect), Reading::Unknown, "{sql}");
        }
    }
}
