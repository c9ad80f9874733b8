//! The tests of the command line as a whole, and the console of all tests.

use super::*;

/// Runs a command; returns its exit status and its output.
pub(crate) fn on_console<E: Into<CommandError>>(
    command: impl FnOnce(&mut Console<'_>) -> Result<Exit, E>,
) -> (Exit, String, String) {
    let mut out = Vec::new();
    let mut err = Vec::new();
    let mut console = Console { out: &mut out, is_terminal: false, err: &mut err };
    let exit = command(&mut console).or_else(|error| error.into().print(&mut console)).unwrap();
    (exit, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[test]
fn the_definition_of_the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn without_a_command_it_serves_with_the_flags_of_serve() {
    let bare = Cli::try_parse_from(["rowgate", "--listen", "127.0.0.1:0"]).unwrap();
    assert!(bare.command.is_none());
    let named = Cli::try_parse_from(["rowgate", "serve", "--listen", "127.0.0.1:0"]).unwrap();
    let Some(Command::Serve(serve)) = named.command else { panic!("{named:?}") };
    assert_eq!(format!("{serve:?}"), format!("{:?}", bare.serve));
    let mixed = Cli::try_parse_from(["rowgate", "--insecure", "health"]);
    assert_eq!(mixed.unwrap_err().exit_code(), 2);
}

#[test]
fn every_command_says_what_it_does() {
    fn check(command: &clap::Command) {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(about.len() > 10, "{} has no help", command.get_name());
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{argument} has no help");
        }
        command.get_subcommands().for_each(check);
    }
    check(&Cli::command());
}
