//! The functions and keywords that may stand before a parenthesis in a plain statement.
//!
//! A function is listed if both MySQL 8.0 and MariaDB 10.6 have it built in, since a name that one of them lacks may be
//! that of somebody's function there, and if it neither reads nor leaves anything in the session. Not listed, therefore:
//! GET_LOCK and its kin, LAST_INSERT_ID, FOUND_ROWS, ROW_COUNT, NEXTVAL, SETVAL, LASTVAL, LOAD_FILE, MASTER_POS_WAIT.

/// The functions, in order.
#[rustfmt::skip]
const FUNCTIONS: [&str; 242] = [
    "ABS", "ACOS", "ADDDATE", "ADDTIME", "AES_DECRYPT", "AES_ENCRYPT", "ASCII", "ASIN", "ATAN", "ATAN2", "AVG",
    "BENCHMARK", "BIN", "BIT_AND", "BIT_COUNT", "BIT_LENGTH", "BIT_OR", "BIT_XOR", "CAST", "CEIL", "CEILING", "CHAR",
    "CHARACTER_LENGTH", "CHARSET", "CHAR_LENGTH", "COALESCE", "COERCIBILITY", "COLLATION", "COMPRESS", "CONCAT",
    "CONCAT_WS", "CONNECTION_ID", "CONV", "CONVERT", "CONVERT_TZ", "COS", "COT", "COUNT", "CRC32", "CUME_DIST",
    "CURDATE", "CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "CURRENT_USER", "CURTIME", "DATABASE", "DATE",
    "DATEDIFF", "DATE_ADD", "DATE_FORMAT", "DATE_SUB", "DAY", "DAYNAME", "DAYOFMONTH", "DAYOFWEEK", "DAYOFYEAR",
    "DEFAULT", "DEGREES", "DENSE_RANK", "ELT", "EXP", "EXPORT_SET", "EXTRACT", "EXTRACTVALUE", "FIELD", "FIND_IN_SET",
    "FIRST_VALUE", "FLOOR", "FORMAT", "FROM_BASE64", "FROM_DAYS", "FROM_UNIXTIME", "GET_FORMAT", "GREATEST",
    "GROUP_CONCAT", "HEX", "HOUR", "IF", "IFNULL", "INET6_ATON", "INET6_NTOA", "INET_ATON", "INET_NTOA", "INSERT",
    "INSTR", "INTERVAL", "ISNULL", "IS_IPV4", "IS_IPV4_COMPAT", "IS_IPV4_MAPPED", "IS_IPV6", "JSON_ARRAY",
    "JSON_ARRAYAGG", "JSON_ARRAY_APPEND", "JSON_ARRAY_INSERT", "JSON_CONTAINS", "JSON_CONTAINS_PATH", "JSON_DEPTH",
    "JSON_EXTRACT", "JSON_INSERT", "JSON_KEYS", "JSON_LENGTH", "JSON_MERGE_PATCH", "JSON_MERGE_PRESERVE",
    "JSON_OBJECT", "JSON_OBJECTAGG", "JSON_QUOTE", "JSON_REMOVE", "JSON_REPLACE", "JSON_SEARCH",
    "JSON_SET", "JSON_TYPE", "JSON_UNQUOTE", "JSON_VALID", "JSON_VALUE", "LAG", "LAST_DAY", "LAST_VALUE", "LCASE",
    "LEAD", "LEAST", "LEFT", "LENGTH", "LN", "LOCALTIME", "LOCALTIMESTAMP", "LOCATE", "LOG", "LOG10", "LOG2", "LOWER",
    "LPAD", "LTRIM", "MAKEDATE", "MAKETIME", "MAKE_SET", "MAX", "MD5", "MICROSECOND", "MID", "MIN", "MINUTE", "MOD",
    "MONTH", "MONTHNAME", "NAME_CONST", "NOW", "NTH_VALUE", "NTILE", "NULLIF", "OCT", "OCTET_LENGTH", "ORD",
    "PERCENT_RANK", "PERIOD_ADD", "PERIOD_DIFF", "PI", "POSITION", "POW", "POWER", "QUARTER", "QUOTE", "RADIANS",
    "RAND", "RANK", "REGEXP_INSTR", "REGEXP_REPLACE", "REGEXP_SUBSTR", "REPEAT", "REPLACE", "REVERSE",
    "RIGHT", "ROUND", "ROW", "ROW_NUMBER", "RPAD", "RTRIM", "SCHEMA", "SECOND", "SEC_TO_TIME", "SESSION_USER", "SHA",
    "SHA1", "SHA2", "SIGN", "SIN", "SLEEP", "SOUNDEX", "SPACE", "SQRT", "STD", "STDDEV", "STDDEV_POP", "STDDEV_SAMP",
    "STRCMP", "STR_TO_DATE", "SUBDATE", "SUBSTR", "SUBSTRING", "SUBSTRING_INDEX", "SUBTIME", "SUM", "SYSDATE",
    "SYSTEM_USER", "TAN", "TIME", "TIMEDIFF", "TIMESTAMP", "TIMESTAMPADD", "TIMESTAMPDIFF", "TIME_FORMAT",
    "TIME_TO_SEC", "TO_BASE64", "TO_DAYS", "TO_SECONDS", "TRIM", "TRUNCATE", "UCASE", "UNCOMPRESS",
    "UNCOMPRESSED_LENGTH", "UNHEX", "UNIX_TIMESTAMP", "UPDATEXML", "UPPER", "USER", "UTC_DATE", "UTC_TIME",
    "UTC_TIMESTAMP", "UUID", "UUID_SHORT", "VALUES", "VARIANCE", "VAR_POP", "VAR_SAMP", "VERSION", "WEEK", "WEEKDAY",
    "WEEKOFYEAR", "WEIGHT_STRING", "YEAR", "YEARWEEK",
];

/// Words that both servers reserve, so that no function can have their name.
#[rustfmt::skip]
const KEYWORDS: [&str; 50] = [
    "ALL", "AND", "AS", "BETWEEN", "BINARY", "BY", "CASE", "CHAR", "CROSS", "DECIMAL", "DISTINCT", "DIV", "DOUBLE",
    "ELSE", "EXCEPT", "EXISTS", "FLOAT", "FORCE", "FROM", "HAVING", "IN", "INDEX", "INNER", "INTERSECT", "INTERVAL",
    "IS", "JOIN", "KEY", "LEFT", "LIKE", "LIMIT", "MATCH", "MOD", "NATURAL", "NOT", "NUMERIC", "ON", "OR", "OVER",
    "PARTITION", "REGEXP", "RLIKE", "SELECT", "THEN", "UNION", "USING", "VALUES", "WHEN", "WHERE", "XOR",
];

/// Types in CAST that are not reserved.
const CAST_TYPES: [&str; 6] = ["DATETIME", "SIGNED", "UNSIGNED", "NCHAR", "VARCHAR", "VARBINARY"];

pub(super) fn is_builtin(upper: &str) -> bool {
    FUNCTIONS.binary_search(&upper).is_ok()
}

/// Returns true for functions that read or leave something in the session, and write nothing else.
pub(super) fn is_of_session(upper: &str) -> bool {
    let names = [
        "GET_LOCK",
        "RELEASE_LOCK",
        "RELEASE_ALL_LOCKS",
        "IS_FREE_LOCK",
        "IS_USED_LOCK",
        "LAST_INSERT_ID",
        "FOUND_ROWS",
        "ROW_COUNT",
    ];
    names.contains(&upper)
}

pub(super) fn may_precede_parenthesis(upper: &str) -> bool {
    KEYWORDS.binary_search(&upper).is_ok()
}

/// Returns true for a type that stands behind AS.
pub(super) fn needs_cast(upper: &str) -> bool {
    CAST_TYPES.contains(&upper)
}

/// Returns true for `ANY` and `SOME`, which stand behind a comparison.
pub(super) fn needs_comparison(upper: &str) -> bool {
    matches!(upper, "ANY" | "SOME")
}
