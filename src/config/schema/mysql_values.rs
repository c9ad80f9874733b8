//! Values of variables of MySQL's sessions.

use serde_json::Value;

/// The modes that may be set: they change which values are stored and which statements are refused, but not how the
/// text of a statement is read. A mode that is not known here may.
const MODES: [&str; 17] = [
    "ALLOW_INVALID_DATES",
    "ERROR_FOR_DIVISION_BY_ZERO",
    "NO_AUTO_CREATE_USER",
    "NO_AUTO_VALUE_ON_ZERO",
    "NO_DIR_IN_CREATE",
    "NO_ENGINE_SUBSTITUTION",
    "NO_UNSIGNED_SUBTRACTION",
    "NO_ZERO_DATE",
    "NO_ZERO_IN_DATE",
    "ONLY_FULL_GROUP_BY",
    "PAD_CHAR_TO_FULL_LENGTH",
    "REAL_AS_FLOAT",
    "SIMULTANEOUS_ASSIGNMENT",
    "STRICT_ALL_TABLES",
    "STRICT_TRANS_TABLES",
    "TIME_ROUND_FRACTIONAL",
    "TIME_TRUNCATE_FRACTIONAL",
];

/// The modes that change how the text of a statement is read, those that stand for several of them included.
const GRAMMAR: [&str; 13] = [
    "ANSI",
    "ANSI_QUOTES",
    "DB2",
    "HIGH_NOT_PRECEDENCE",
    "IGNORE_SPACE",
    "MAXDB",
    "MSSQL",
    "MYSQL323",
    "MYSQL40",
    "NO_BACKSLASH_ESCAPES",
    "ORACLE",
    "PIPES_AS_CONCAT",
    "POSTGRESQL",
];

/// The mode that stands for several strict ones.
const TRADITIONAL: &str = "TRADITIONAL";

pub(super) const MODES_INSTEAD: &str =
    "Write names of modes with commas between them: \"STRICT_TRANS_TABLES,NO_ZERO_DATE\".";

pub(super) const OFFSET_INSTEAD: &str = "Write a distance from UTC from \"-13:59\" to \"+14:00\", such as \"+00:00\"; zones with a name, and SYSTEM, \
     depend on what the server knows of them.";

/// Checks a list of modes; returns it in capitals, without blanks.
pub(super) fn sql_mode(text: &str) -> Result<Value, String> {
    let listed = text.split(',').map(|mode| mode.trim().to_ascii_uppercase());
    let listed: Vec<_> = listed.filter(|mode| !mode.is_empty()).collect();
    for mode in &listed {
        if GRAMMAR.contains(&mode.as_str()) {
            return Err(format!(
                "{mode} changes how the server reads statements, and Rowgate would read them otherwise"
            ));
        }
        if mode != TRADITIONAL && !MODES.contains(&mode.as_str()) {
            return Err(format!("\"{mode}\" is not a mode that is known to be safe"));
        }
    }
    Ok(listed.join(",").into())
}

/// Checks a distance from UTC; returns it with two digits for hours and minutes.
pub(super) fn zone_offset(text: &str) -> Result<Value, String> {
    const WRONG: &str = "this is not a distance from UTC";
    let text = text.trim();
    let (sign, rest) = text.split_at_checked(1).ok_or(WRONG)?;
    let (hours, minutes) = rest.split_once(':').ok_or(WRONG)?;
    let number = |digits: &str| {
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u32>().ok().filter(|_| is_number && digits.len() <= 2)
    };
    let is_whole = minutes.len() == 2;
    let minutes = number(minutes).filter(|minutes| is_whole && *minutes < 60).ok_or(WRONG)?;
    let hours = number(hours).ok_or(WRONG)?;
    let whole = hours * 60 + minutes;
    let most = match sign {
        // MySQL knows no -00:00.
        "-" if whole == 0 => return Ok("+00:00".into()),
        "+" => 14 * 60,
        "-" => 13 * 60 + 59,
        _ => return Err(WRONG.to_owned()),
    };
    if whole > most {
        return Err("no zone is as far from UTC".to_owned());
    }
    Ok(format!("{sign}{hours:02}:{minutes:02}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_names_in_any_case() {
        for (text, expected) in [
            ("", ""),
            ("strict_trans_tables", "STRICT_TRANS_TABLES"),
            (" STRICT_ALL_TABLES , no_zero_date,", "STRICT_ALL_TABLES,NO_ZERO_DATE"),
            ("TRADITIONAL", "TRADITIONAL"),
        ] {
            assert_eq!(sql_mode(text), Ok(expected.into()), "{text}");
        }
    }

    #[test]
    fn a_mode_that_may_change_how_statements_are_read_is_refused() {
        for mode in
            GRAMMAR.into_iter().chain(["ansi_quotes", "EMPTY_STRING_IS_NULL", "NO_SUCH", "A B"])
        {
            let text = format!("STRICT_TRANS_TABLES,{mode}");
            assert!(sql_mode(&text).is_err(), "{mode}");
        }
        for mode in MODES {
            assert!(!GRAMMAR.contains(&mode), "{mode}");
            assert_eq!(sql_mode(mode), Ok(mode.into()));
        }
    }

    #[test]
    fn a_time_zone_is_a_distance_from_utc() {
        for (text, expected) in [
            ("+00:00", "+00:00"),
            ("-0:00", "+00:00"),
            ("+5:30", "+05:30"),
            ("+14:00", "+14:00"),
            ("-13:59", "-13:59"),
        ] {
            assert_eq!(zone_offset(text), Ok(expected.into()), "{text}");
        }
        for text in [
            "",
            "+",
            "00:00",
            "+14:01",
            "-14:00",
            "+1",
            "+01:60",
            "+01:5x",
            "+001:00",
            "UTC",
            "SYSTEM",
            "Europe/Berlin",
            "+-1:00",
            "é1:00",
            "+01:000",
        ] {
            assert!(zone_offset(text).is_err(), "{text}");
        }
    }
}
