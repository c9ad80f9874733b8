//! The settings that the sessions of a database begin with: a table of names and values.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::problem::ValueError;
use super::setting_names;

/// The settings that every session of a database begins with: names in lower case, and values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitialSettings(pub Vec<(String, String)>);

impl InitialSettings {
    /// Returns true if a setting has this name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// Adds a setting as it was written.
    pub(crate) fn add(&mut self, name: &str, value: &Value) -> Result<(), ValueError> {
        let name = name.to_ascii_lowercase();
        setting_names::check(&name).map_err(|why| {
            ValueError::new(why)
                .instead("Write the name as PostgreSQL knows it: search_path, tenant.id.")
        })?;
        if let Some(instead) = setting_names::instead_in_session(&name) {
            return Err(ValueError::new("sessions cannot begin with it").instead(instead));
        }
        if self.contains(&name) {
            return Err(
                ValueError::new("this setting is given twice").instead("Remove one of them.")
            );
        }
        let value = match value {
            Value::String(text) if !text.contains('\0') => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(value) => value.to_string(),
            Value::String(_) | Value::Array(_) | Value::Object(_) | Value::Null => {
                let instead = "Write a text as SHOW prints it, a number, true or false.";
                return Err(ValueError::new("this is not the value of a setting").instead(instead));
            }
        };
        self.0.push((name, value));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_texts_numbers_and_switches() {
        let mut settings = InitialSettings::default();
        for (name, value) in [
            ("search_path", json!("app, public")),
            ("Work_Mem", json!(8192)),
            ("jit", json!(false)),
            ("tenant.id", json!("")),
        ] {
            assert_eq!(settings.add(name, &value), Ok(()), "{name}");
        }
        let pairs = [
            ("search_path", "app, public"),
            ("work_mem", "8192"),
            ("jit", "false"),
            ("tenant.id", ""),
        ];
        let owned = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(settings.0, owned);
    }

    #[test]
    fn a_problem_says_what_to_write_instead() {
        let mut settings = InitialSettings::default();
        settings.add("jit", &json!("off")).expect("it is one");
        for (name, value, why, instead) in [
            ("a'b", json!("1"), "\"a'b\" is not the name of a setting", "as PostgreSQL knows it"),
            ("DateStyle", json!("SQL"), "sessions cannot begin with it", "to_char"),
            ("role", json!("admin"), "sessions cannot begin with it", "A role is a login"),
            (
                "lock_timeout",
                json!("5s"),
                "sessions cannot begin with it",
                "databases.NAME.lock_timeout",
            ),
            ("JIT", json!("on"), "this setting is given twice", "Remove one"),
            ("work_mem", json!(["8MB"]), "this is not the value of a setting", "as SHOW prints it"),
            ("my.note", json!("a\0"), "this is not the value of a setting", "as SHOW prints it"),
        ] {
            let error = settings.add(name, &value).expect_err(name);
            assert_eq!(error.why, why, "{name}");
            let shown = error.instead.unwrap_or_default();
            assert!(shown.contains(instead), "{name}: {shown}");
        }
    }
}
