//! The server's hints in the words of the prompt: they name calls of the API, of which it has commands.

use crate::grpc::client::CallError;

/// Hints of the server, and those of the prompt in their place. A hint that is not here is shown as it is.
const HINTS: [(&str, &str); 8] = [
    (
        "Use options.settings, SET LOCAL in an ExecuteBatch, or a Transact.",
        "Start the prompt with --setting NAME=VALUE, or write BEGIN; SET LOCAL … in the transaction that needs it.",
    ),
    (
        "Send it with the statements that need it, in an ExecuteBatch or a Transact.",
        "Write BEGIN before it, and the statements that need it in the same transaction.",
    ),
    (
        "Use a Transact: what it sets up is removed at its end.",
        "Write BEGIN before it: what it sets up is removed at the end of the transaction.",
    ),
    (
        "Use ON COMMIT DROP in an ExecuteBatch, a Transact, a common table expression or an ordinary table.",
        "Write BEGIN before it, or use a common table expression or an ordinary table.",
    ),
    (
        "Use pg_advisory_xact_lock in an ExecuteBatch or a Transact.",
        "Write BEGIN, and use pg_advisory_xact_lock in the transaction.",
    ),
    (
        "Use the RPC Listen, which streams the notifications of channels.",
        "Use `rowgate listen CHANNEL`, which prints the notifications of channels.",
    ),
    (
        "Use CopyIn to write and CopyOut to read.",
        "Use `rowgate copy TABLE --from FILE` to write, and `--to FILE` to read.",
    ),
    (
        "Send rollback, or rollback_to with a savepoint set before.",
        "Write ROLLBACK, or ROLLBACK TO a savepoint that was set before.",
    ),
];

/// The error with the prompt's own hint.
pub(super) fn with_prompt_hint(mut error: CallError) -> CallError {
    let known = HINTS.iter().find(|(server, _)| *server == error.report.hint);
    if let Some((_, prompt)) = known {
        (*prompt).clone_into(&mut error.report.hint);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::copy_unsupported;
    use crate::error::Outcome;
    use crate::sql::{Analyzer, Dialect};

    #[test]
    fn hints_of_the_server_are_translated() {
        let analyzer = Analyzer::new(Dialect::Postgres, 0);
        let of_state = |sql: &str| {
            let state = analyzer.analyze(sql).session_state.expect("it has an effect");
            state.hint.to_owned()
        };
        let mut hints: Vec<_> = [
            "set work_mem = 1",
            "listen a",
            "create temporary table t (a int)",
            "select pg_advisory_lock(1)",
        ]
        .map(of_state)
        .into();
        hints.extend(copy_unsupported().hint().map(str::to_owned));
        assert_eq!(hints.len(), 5);
        for hint in hints {
            let error = CallError::new("UNIMPLEMENTED", "", Outcome::NotApplied).with_hint(&*hint);
            let shown = with_prompt_hint(error).report.hint;
            assert_ne!(shown, hint);
            for name in ["Transact.", "ExecuteBatch", "options.", "CopyIn", "RPC"] {
                assert!(!shown.contains(name), "{shown}");
            }
        }
    }
}
