//! The text of configurations.

use std::path::Path;

use crate::config::{Environment, Inputs, Problems, load};

/// Loads a configuration file with these variables, and returns the problems as they are shown; `None` for a correct one.
#[must_use]
pub fn load_configuration(file: &Path, variables: &[(&str, &str)]) -> Option<String> {
    let environment = Environment::of(variables);
    let mut inputs = Inputs { file: Some(file.to_owned()), ..Inputs::new(environment) };
    inputs.insecure = true;
    shown(load(&inputs).map(|loaded| format!("{loaded:?}")))
}

/// Loads a database's URL with these variables, and returns all that is shown of it: the problems, or the configuration.
#[must_use]
pub fn load_url(variables: &[(&str, &str)]) -> String {
    let loaded = load(&Inputs::new(Environment::of(variables)));
    match loaded {
        Ok(loaded) => format!("{loaded:?}"),
        Err(problems) => problems.to_string(),
    }
}

fn shown(loaded: Result<String, Problems>) -> Option<String> {
    loaded.err().map(|problems| problems.to_string())
}
