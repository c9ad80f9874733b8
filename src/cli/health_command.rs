//! `rowgate health`.

use super::command_error::{CommandError, Result};
use super::console::{Console, Exit};
use super::server_flag::Target;
use crate::grpc::client::Health;

const EXAMPLES: &str = "\
Services: the empty name and `readiness` are the server as a whole, `liveness` its process, \
`rowgate.v1.DatabaseService` the service, `database.NAME` one database.

Examples:
  rowgate health                                 check that the server is ready
  rowgate health --service database.main         check that it reaches this database
  HEALTHCHECK CMD [\"rowgate\", \"health\"]          in a container's build file

Exit status: 0 when SERVING, else 1.";

/// Ask a server whether it is healthy
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// The service to ask for, in the names of grpc.health.v1
    #[arg(long, value_name = "NAME", default_value = "")]
    service: String,
}

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<Exit> {
    let health = args.target.call(async |client| client.health(&args.service).await);
    report(&args.service, health, console)
}

fn report(service: &str, health: Result<Health>, console: &mut Console<'_>) -> Result<Exit> {
    let (word, exit) = match health {
        Ok(Health::Serving) => ("SERVING", Exit::Success),
        Ok(Health::NotServing) => ("NOT_SERVING", Exit::Failure),
        Ok(Health::Unknown) => ("UNKNOWN", Exit::Failure),
        Err(CommandError::Call(error)) if error.code == "NOT_FOUND" => {
            return Err(CommandError::Failed(format!(
                "the server has no service {service:?}; `rowgate health --help` lists the names"
            )));
        }
        Err(error) => return Err(error),
    };
    writeln!(console.out, "{word}")?;
    Ok(exit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::on_console;
    use crate::error::Outcome;
    use crate::grpc::client::CallError;

    #[test]
    fn each_answer_has_its_word_and_its_exit_status() {
        let cases = [
            (Health::Serving, "SERVING\n", Exit::Success),
            (Health::NotServing, "NOT_SERVING\n", Exit::Failure),
            (Health::Unknown, "UNKNOWN\n", Exit::Failure),
        ];
        for (health, word, exit) in cases {
            let (ended, out, err) = on_console(|console| report("", Ok(health), console));
            assert_eq!((ended, out.as_str(), err.as_str()), (exit, word, ""));
        }
    }

    #[test]
    fn an_unknown_service_is_named() {
        let error = CallError::new("NOT_FOUND", "service not registered", Outcome::Unknown);
        let (exit, out, err) =
            on_console(|console| report("databse.main", Err(error.into()), console));
        assert_eq!((exit, out.as_str()), (Exit::Failure, ""));
        assert!(err.starts_with("error: the server has no service \"databse.main\""), "{err}");
    }
}
