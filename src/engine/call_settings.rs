//! The validation of the settings that a call asks for. They become the preamble of its transaction.

use std::collections::BTreeSet;
use std::time::Duration;

use super::database::{Caller, Database};
use crate::backend::{Preamble, TransactionSetting};
use crate::config::setting_names;
use crate::error::{Error, ErrorKind, Result};
use crate::sql::Dialect;
use crate::value::proto::Setting;

impl Database {
    /// Validates the settings of a request, which are its field of this path.
    pub(super) fn preamble(
        &self,
        settings: &[Setting],
        field: &'static str,
        caller: &Caller,
    ) -> Result<Preamble> {
        let claims = self.claims_of(caller);
        if settings.is_empty() {
            return Ok(Preamble { claims, ..Preamble::default() });
        }
        if self.analyzer.dialect == Dialect::Sqlite {
            let description = "SQLite has no settings of a transaction";
            return Err(Error::field(ErrorKind::InvalidOption, field, description));
        }
        self.check_amount(settings, field)?;
        let mut names = BTreeSet::new();
        let mut checked = Vec::with_capacity(settings.len());
        for (index, Setting { name, value }) in settings.iter().enumerate() {
            let path = |part: &str| format!("{field}[{index}].{part}");
            let name = name.to_ascii_lowercase();
            self.check_name(&name, &path("name"), caller)?;
            if !names.insert(name.clone()) {
                let description = format!("{name} is set twice");
                return Err(Error::field(ErrorKind::InvalidOption, path("name"), description));
            }
            self.check_value(&name, value, &path("value"))?;
            checked.push(TransactionSetting { name, value: value.clone() });
        }
        Ok(Preamble { claims, settings: checked, settings_field: field })
    }

    fn check_amount(&self, settings: &[Setting], field: &str) -> Result<()> {
        let config = self.settings();
        let size: usize = settings.iter().map(|one| one.name.len() + one.value.len()).sum();
        let description = if settings.len() > config.max_settings {
            format!("there are {} settings, and at most {}", settings.len(), config.max_settings)
        } else if size > config.max_settings_size {
            format!("the settings have {size} bytes, and at most {}", config.max_settings_size)
        } else {
            return Ok(());
        };
        Err(Error::field(ErrorKind::InvalidOption, field, description))
    }

    /// Checks that the caller may set it. What is not listed is denied, and so is what no list can have.
    fn check_name(&self, name: &str, path: &str, caller: &Caller) -> Result<()> {
        if let Err(why) = setting_names::check(name) {
            return Err(Error::field(ErrorKind::InvalidOption, path, why).denying());
        }
        if let Some(instead) = setting_names::instead_in_call(name) {
            let description = format!("{name} cannot be set by a call");
            let error = Error::field(ErrorKind::InvalidOption, path, description);
            return Err(error.with_hint(instead).denying());
        }
        if !setting_names::are_listed(&self.settings().settings_allowed, name) {
            let description = format!("this database allows no call to set {name}");
            let error = Error::field(ErrorKind::PermissionDenied, path, description);
            let hint =
                format!("An operator can list it in databases.{}.settings_allowed.", self.name);
            return Err(error.with_condition("ACCESS_DENIED").with_hint(hint));
        }
        caller.identity.policy.check_setting(name, path)
    }

    fn check_value(&self, name: &str, value: &str, path: &str) -> Result<()> {
        let invalid =
            |description: String| Error::field(ErrorKind::InvalidOption, path, description);
        if value.contains('\0') {
            return Err(invalid("it holds a NUL character".to_owned()));
        }
        let longest = match name {
            "statement_timeout" => self.settings().statement_timeout,
            "lock_timeout" => self.settings().lock_timeout,
            _ => return Ok(()),
        };
        let is_shorter = |timeout: Duration| !timeout.is_zero() && timeout <= longest;
        if setting_names::duration(value).is_some_and(is_shorter) {
            return Ok(());
        }
        let longest = humantime::format_duration(longest);
        Err(invalid(format!(
            "a timeout of a call is a number of ms, or has a unit, up to {longest}"
        )))
    }
}
