//! The commands of the prompt that begin with a backslash.

use std::time::Duration;

/// A command of the prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MetaCommand {
    /// `\i`
    Include(String),
    /// `\r`
    Reset,
    Session(SessionCommand),
}

/// A command that does not concern the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SessionCommand {
    /// `\c`, without a name to tell the connection.
    Connect(Option<String>),
    /// `\l`
    Databases,
    /// `\d`, without a name to list all relations.
    Describe(Option<String>),
    /// `\x`, without a word to toggle it.
    Expanded(Option<Expansion>),
    /// `\?`
    Help,
    /// `\o`, without a name for the terminal.
    Output(Option<String>),
    /// `\q`
    Quit,
    /// `\dt`
    Tables(Option<String>),
    /// `\timing`, without a word to toggle it.
    Timing(Option<bool>),
    /// `\watch`
    Watch(Duration),
}

/// The rule by which rows are printed with one value a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expansion {
    Always,
    Never,
    /// As [`Self::Always`] for a table that would not fit.
    Automatic,
}

/// The pause of `\watch` that names none.
const WATCH: Duration = Duration::from_secs(2);

/// The shortest pause of `\watch`.
const LEAST_WATCH: Duration = Duration::from_millis(100);

pub(super) const HELP: &str = r"  \d              list tables, views and sequences
  \d NAME         describe a table or view: columns, indexes, constraints, triggers
  \dt [NAME]      list tables; * and ? stand for other characters
  \l              list the databases of the server
  \c [DATABASE]   use another database; without a name, tell which one is in use
  \x [on|off|auto]    print one value a line; auto (the default) does so where a table would not fit
  \timing [on|off]    tell how long each statement takes
  \i FILE         run the statements of a file; the first error ends it
  \o [FILE]       write results to a file; without a name, to the terminal again
  \watch [SECONDS]    repeat the last statement until Ctrl-C (every 2 s)
  \r              forget the statement that is being typed
  \q              quit, as Ctrl-D does
  Ctrl-C          cancel the statement that runs, or clear the line
  TAB             complete keywords, names of tables and columns, and commands
";

/// The commands by which they are completed.
pub(super) const NAMES: [&str; 12] =
    ["\\?", "\\c", "\\d", "\\dt", "\\i", "\\l", "\\o", "\\q", "\\r", "\\timing", "\\watch", "\\x"];

/// Reads a command with its backslash.
///
/// # Errors
/// Text for people.
pub(super) fn parse(line: &str) -> Result<MetaCommand, String> {
    let line = line.trim();
    let (name, rest) = line.split_at(line.find(char::is_whitespace).unwrap_or(line.len()));
    // As psql's users end it.
    let rest = rest.trim().trim_end_matches(';').trim_end();
    let argument = (!rest.is_empty()).then(|| rest.to_owned());
    let command = match name.trim_end_matches(';') {
        "\\i" | "\\include" => {
            let file = argument.ok_or("\\i needs the name of a file")?;
            return Ok(MetaCommand::Include(unquoted(&file)));
        }
        "\\r" | "\\reset" => return Ok(MetaCommand::Reset),
        "\\c" | "\\connect" => SessionCommand::Connect(argument.map(|name| unquoted(&name))),
        "\\d" | "\\d+" => SessionCommand::Describe(argument),
        "\\dt" | "\\dt+" => SessionCommand::Tables(argument),
        "\\l" | "\\list" => SessionCommand::Databases,
        "\\x" => SessionCommand::Expanded(argument.as_deref().map(expansion).transpose()?),
        "\\timing" => SessionCommand::Timing(argument.as_deref().map(switch).transpose()?),
        "\\o" | "\\out" => {
            if argument.as_deref().is_some_and(|file| file.starts_with('|')) {
                return Err(TO_PROGRAM.to_owned());
            }
            SessionCommand::Output(argument.map(|file| unquoted(&file)))
        }
        "\\watch" => SessionCommand::Watch(argument.as_deref().map_or(Ok(WATCH), pause)?),
        "\\q" | "\\quit" => SessionCommand::Quit,
        "\\?" | "\\h" | "\\help" => SessionCommand::Help,
        "\\copy" => return Err("\\copy is `rowgate copy` outside of the prompt".to_owned()),
        name => return Err(format!("{name} is no command; \\? lists them")),
    };
    Ok(MetaCommand::Session(command))
}

/// The finding about results for a program.
const TO_PROGRAM: &str = "\\o writes to a file, not to a program\n  hint: Outside of the prompt, write \
    `rowgate query --format csv SQL | PROGRAM`. A file whose name begins with | has it in quotes.";

/// The name of a file or database without its quotes.
fn unquoted(name: &str) -> String {
    let inside = |quote| name.strip_prefix(quote).and_then(|name| name.strip_suffix(quote));
    inside('\'').or_else(|| inside('"')).unwrap_or(name).to_owned()
}

fn expansion(word: &str) -> Result<Expansion, String> {
    match word {
        "auto" => Ok(Expansion::Automatic),
        word => Ok(if switch(word).map_err(|_why| "\\x takes on, off or auto")? {
            Expansion::Always
        } else {
            Expansion::Never
        }),
    }
}

fn switch(word: &str) -> Result<bool, String> {
    match word {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("\\timing takes on or off".to_owned()),
    }
}

fn pause(word: &str) -> Result<Duration, String> {
    let seconds = word.trim_end_matches('s').parse::<f64>().ok();
    let pause = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let wrong = || format!("\\watch takes a number of seconds from 0.1 on, not {word}");
    pause.filter(|pause| *pause >= LEAST_WATCH).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_with_their_arguments() {
        for (line, expected) in [
            ("\\q", SessionCommand::Quit),
            (" \\q; ", SessionCommand::Quit),
            ("\\d", SessionCommand::Describe(None)),
            ("\\d public.orders;", SessionCommand::Describe(Some("public.orders".to_owned()))),
            ("\\d \"Order Items\"", SessionCommand::Describe(Some("\"Order Items\"".to_owned()))),
            ("\\dt ord*", SessionCommand::Tables(Some("ord*".to_owned()))),
            ("\\x", SessionCommand::Expanded(None)),
            ("\\x auto", SessionCommand::Expanded(Some(Expansion::Automatic))),
            ("\\x on", SessionCommand::Expanded(Some(Expansion::Always))),
            ("\\timing off", SessionCommand::Timing(Some(false))),
            ("\\o", SessionCommand::Output(None)),
            ("\\watch 0.5", SessionCommand::Watch(Duration::from_millis(500))),
            ("\\c shop", SessionCommand::Connect(Some("shop".to_owned()))),
        ] {
            assert_eq!(parse(line), Ok(MetaCommand::Session(expected)), "{line}");
        }
        let file = MetaCommand::Include("a b.sql".to_owned());
        assert_eq!(parse("\\i 'a b.sql'"), Ok(file));
        assert_eq!(parse("\\r"), Ok(MetaCommand::Reset));
    }

    #[test]
    fn what_is_no_command_is_told() {
        for (line, why) in [
            ("\\nope", "\\nope is no command; \\? lists them"),
            ("\\", "\\ is no command"),
            ("\\x maybe", "\\x takes on, off or auto"),
            ("\\timing maybe", "\\timing takes on or off"),
            ("\\i", "\\i needs the name of a file"),
            ("\\watch 0", "from 0.1 on, not 0"),
            ("\\watch nan", "from 0.1 on, not nan"),
            ("\\copy t from x", "rowgate copy"),
        ] {
            let told = parse(line).unwrap_err();
            assert!(told.contains(why), "{line}: {told}");
        }
    }

    #[test]
    fn every_command_is_completed_and_in_the_help() {
        for name in NAMES {
            let listed = HELP.lines().any(|line| line.split_whitespace().next() == Some(name));
            assert!(listed || name == "\\?", "{name}");
            assert!(!parse(name).is_err_and(|why| why.contains("is no command")), "{name}");
        }
    }
}
