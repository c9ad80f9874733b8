//! The last reading of files that are watched: a change of their content, or of what is wrong with them, counts once.

use parking_lot::Mutex;

use crate::error::{Error, Result};

/// The last reading, usable or not.
#[derive(Debug)]
pub(crate) struct LastRead<T>(Mutex<Option<Result<T, String>>>);

impl<T> Default for LastRead<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone + PartialEq> LastRead<T> {
    /// Returns what was read now if it differs from what was read last.
    ///
    /// # Errors
    /// It could not be read now, for another reason than the last time.
    pub(crate) fn changed(&self, now: Result<T>) -> Result<Option<T>> {
        let mut last = self.0.lock();
        let is_known = match (&*last, &now) {
            (Some(Ok(last)), Ok(now)) => last == now,
            (Some(Err(last)), Err(now)) => *last == description(now),
            (None | Some(Ok(_) | Err(_)), _) => false,
        };
        if is_known {
            return Ok(None);
        }
        *last = Some(now.as_ref().map(T::clone).map_err(description));
        now.map(Some)
    }
}

fn description(error: &Error) -> String {
    format!("{}: {}", error.message(), error.cause())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_change_of_the_content_or_of_the_problem_counts_once() {
        let last = LastRead::default();
        let wrong = |why| Err(Error::new(ErrorKind::InvalidOption, why));
        assert!(last.changed(wrong("missing")).is_err());
        assert_eq!(last.changed(wrong("missing")).expect("it is known"), None);
        assert!(last.changed(wrong("malformed")).is_err());
        assert_eq!(last.changed(Ok("one")).expect("it is usable"), Some("one"));
        assert_eq!(last.changed(Ok("one")).expect("it is known"), None);
        assert!(last.changed(wrong("malformed")).is_err());
        assert_eq!(last.changed(Ok("one")).expect("it is usable again"), Some("one"));
        assert_eq!(last.changed(Ok("two")).expect("it is usable"), Some("two"));
    }
}
