//! `rowgate health`

use std::io;
use std::time::Duration;

use super::Exit;
use super::call_failure;
use super::console::{Console, visible};
use super::server_address::{Server, runtime};
use crate::grpc::client::{CallError, Client, Health};

const EXAMPLES: &str = "\
Services: the empty name and `readiness` are the server as a whole, `liveness` its process, \
`rowgate.v1.DatabaseService` the service, `database.NAME` one database.

Examples:
  rowgate health                                 is the server ready for calls?
  rowgate health --service database.main         does it reach this database?
  HEALTHCHECK CMD [\"rowgate\", \"health\"]          in a container's build file

Exit status: 0 when SERVING, else 1.";

/// Ask a server whether it is healthy
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    server: Server,
    /// The service to ask for, in the names of grpc.health.v1
    #[arg(long, value_name = "NAME", default_value = "")]
    service: String,
    /// How long to wait for an answer
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    #[arg(value_parser = humantime::parse_duration)]
    timeout: Duration,
}

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> io::Result<Exit> {
    let answer = runtime()?.block_on(async {
        let client = Client::connect(&args.server.address).await?;
        client.with_limit(args.timeout).health(&args.service).await
    });
    report(&args.service, answer, console)
}

fn report(
    service: &str,
    answer: Result<Health, CallError>,
    console: &mut Console<'_>,
) -> io::Result<Exit> {
    let (word, exit) = match answer {
        Ok(Health::Serving) => ("SERVING", Exit::Success),
        Ok(Health::NotServing) => ("NOT_SERVING", Exit::Failure),
        Ok(Health::Unknown) => ("UNKNOWN", Exit::Failure),
        Err(error) if error.code == "NOT_FOUND" => {
            return console.fail(&format!(
                "the server knows no service {:?}; `rowgate health --help` lists the names",
                visible(service)
            ));
        }
        Err(error) => return console.fail(&call_failure::describe(&error, None)),
    };
    writeln!(console.out, "{word}")?;
    Ok(exit)
}

#[cfg(test)]
mod tests {
    use super::super::console::tests::on_console;
    use super::*;
    use crate::error::Outcome;

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
    fn an_unknown_service_is_said_to_be_one() {
        let error = CallError::new("NOT_FOUND", "service not registered", Outcome::Unknown);
        let (exit, out, err) = on_console(|console| report("databse.main", Err(error), console));
        assert_eq!((exit, out.as_str()), (Exit::Failure, ""));
        assert!(err.starts_with("error: the server knows no service \"databse.main\""), "{err}");
    }
}
