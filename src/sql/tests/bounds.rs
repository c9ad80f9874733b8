//! Texts that would exhaust the stack or the time of a parser without bounds.

use proptest::prelude::*;

use super::{StatementClass, analyze};
use crate::sql::classify;

#[test]
fn no_text_that_is_parsed_overflows_two_mebibytes_of_stack_or_takes_long() {
    for (name, sql) in bombs() {
        parse_on_a_small_stack(name, sql);
    }
}

fn parse_on_a_small_stack(name: &str, sql: String) {
    let sql: std::sync::Arc<str> = sql.into();
    // A busy machine may hold one up for a while, but not each of three.
    let mut all = (0..3).map(|_| {
        let (sql, start) = (sql.clone(), std::time::Instant::now());
        let run = move || drop(classify::classify_text(&sql));
        let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run);
        thread.unwrap().join().unwrap();
        start.elapsed()
    });
    assert!(all.any(|taken| taken.as_millis() < 2000), "{name} took longer, three times");
}

#[test]
fn statements_of_ordinary_size_stay_within_the_bounds() {
    let list = (1..2000).map(|n| format!("${n}")).collect::<Vec<_>>().join(",");
    let rows = (1..900).map(|n| format!("(${n},$1)")).collect::<Vec<_>>().join(",");
    let conditions = vec!["(a = $1 and b = $2)"; 250].join(" or ");
    let joins = (0..40).map(|n| format!(" left join t{n} on t{n}.id = t.id")).collect::<String>();
    for sql in [
        format!("select * from t where a in ({list})"),
        format!("insert into t (a, b) values {rows}"),
        format!("select * from t where {conditions}"),
        format!("select * from t{joins}"),
    ] {
        assert_ne!(analyze(&sql).class, StatementClass::Other, "{sql}");
    }
}

/// Texts of just under 16 KiB, and of sizes below at which a bound may just not be met.
fn bombs() -> Vec<(&'static str, String)> {
    let mut bombs = Vec::new();
    for &(name, prefix, piece, suffix) in REPEATED {
        for n in [20, 45, 150, 340, 500, 1000, 16_300 / piece.len()] {
            if prefix.len() + piece.len() * n + suffix.len() <= 16 << 10 {
                bombs.push((name, format!("{prefix}{}{suffix}", piece.repeat(n))));
            }
        }
    }
    for &(name, open, inner, close) in NESTED {
        for n in [5, 10, 12, 15, 20, 24, 45, 300] {
            let (opened, closed) = (open.repeat(n), close.repeat(n));
            bombs.push((name, format!("select {opened}{inner}{closed}")));
            bombs.push((name, format!("select * from {opened}{inner}{closed} x")));
            bombs.push((name, format!("select {opened}{inner}")));
        }
    }
    bombs
}

/// Name, text before, what is repeated, text after.
const REPEATED: &[(&str, &str, &str, &str)] = &[
    ("or", "select 1 where a=1", " or a=1", ""),
    ("plus", "select 1", "+1", ""),
    ("concat", "select a", "||a", ""),
    ("custom operators", "select a", "<->a", ""),
    ("casts", "select 1", "::int", ""),
    ("array types", "select 1::int", "[]", ""),
    ("subscripts", "select a", "[1]", ""),
    ("slices", "select a", "[1:2]", ""),
    ("accesses", "select (a)", ".b", ""),
    ("is null", "select 1", " is null", ""),
    ("isnull", "select 1", " isnull", ""),
    ("collate", "select a", " collate c", ""),
    ("at time zone", "select a", " at time zone a", ""),
    ("like", "select a", " like a", ""),
    ("between", "select a", " between a and a", ""),
    ("in", "select a", " in (1)", ""),
    ("any", "select a", " = any(a)", ""),
    ("not", "select ", "not ", "a"),
    ("minus", "select ", "- ", "1"),
    ("tilde", "select ", "~ ", "1"),
    ("interval", "select ", "interval ", "'1'"),
    ("exists", "select ", "exists ", "1"),
    ("union", "select 1", " union select 1", ""),
    ("union all", "select 1", " union all select 1", ""),
    ("values", "values (1)", ",(1)", ""),
    ("columns", "select a", ",a", ""),
    ("long name", "select a", ".a", ""),
    ("commas in from", "select * from t", ",t", ""),
    ("joins", "select * from t", " join t on a", ""),
    ("nested joins", "select * from t", " join t", ""),
    ("nested joins with conditions", "select * from t join t", " join t", " on a on a"),
    ("cross joins", "select * from t", " cross join t", ""),
    ("natural joins", "select * from t", " natural join t", ""),
    ("case when", "select case", " when a then b", " end"),
    ("case", "select ", "case ", ""),
    ("with", "with a as (select 1)", ", a as (select 1)", " select 1"),
    ("locks", "select 1", " for update", ""),
    ("strings", "select 'a'", "'a'", ""),
    ("strings on lines", "select 'a'", "\n'a'", ""),
    ("words", "select a", " a", ""),
    ("opened", "select ", "(", ""),
    ("opened array", "select ", "array[", ""),
    ("opened brackets", "select ", "[", ""),
    ("opened calls", "select ", "f(", ""),
    ("opened casts", "select ", "cast(case ", ""),
    ("opened selects", "", "(select ", ""),
    ("opened from", "select * from ", "(", ""),
    ("opened derived", "", "select * from (", ""),
    ("opened with", "", "with a as (", ""),
    ("opened types", "select 1::a", "(", ""),
    ("calls of calls", "select f", "(1)", ""),
    ("lateral", "select * from ", "lateral ", "t"),
    ("over", "select f(1)", " over (partition by 1)", ""),
    ("filter", "select f(1)", " filter (where a)", ""),
    ("assignments", "update t set a = 1", ", a = 1", ""),
    ("merge", "merge into t using s on a", " when matched then delete", ""),
    ("nested comments", "select ", "/*", ""),
    ("comments", "select 1", "/**/", ""),
    ("prior", "select ", "prior ", "a"),
    ("distinct", "select ", "distinct ", "a"),
    ("semicolons", "", ";", "select 1"),
    ("double select", "", "select ", "1"),
];

/// Name, what opens, what stands inside, what closes.
const NESTED: &[(&str, &str, &str, &str)] = &[
    ("parentheses", "(", "1", ")"),
    ("calls", "f(", "1", ")"),
    ("arrays", "array[", "1", "]"),
    ("cases", "case when ", "a", " then 1 end"),
    ("casts in casts", "cast(", "1", " as int)"),
    ("queries", "(select ", "1", ")"),
    ("derived tables", "(select * from ", "t", " x)"),
    ("memberships", "1 in (", "1", ")"),
    ("existence", "exists (select ", "1", ")"),
    ("extracts", "extract(day from ", "a", ")"),
    ("substrings", "substring(", "a", " from 1)"),
    ("positions", "position(", "a", " in a)"),
    ("windows", "f(1) over (order by ", "1", ")"),
    ("not in parentheses", "not (", "a", ")"),
    ("rows", "row(", "1", ")"),
    ("case in cast", "cast(case ", "1", " when 1 then 1 end as int)"),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_repetition_of_words_overflows_the_stack_or_takes_long(
        start in prop::sample::select(STARTS.to_vec()),
        words in prop::collection::vec(prop::sample::select(WORDS.to_vec()), 1..5),
        times in prop::sample::select(vec![10_usize, 20, 30, 47, 200, 1000, 16_000]),
    ) {
        let unit = format!("{} ", words.join(" "));
        let times = times.min((16_300 - start.len()) / unit.len());
        parse_on_a_small_stack("repetition", format!("{start} {}", unit.repeat(times)));
    }
}

const STARTS: &[&str] = &[
    "select",
    "select a",
    "select * from",
    "select * from t",
    "select * from t where",
    "select * from t order by",
    "select f(",
    "select a::",
    "with a as (",
    "(",
    "values (",
    "insert into t",
    "insert into t values (",
    "update t set a =",
    "delete from t where",
    "merge into t using",
];

const WORDS: &[&str] = &[
    "select",
    "from",
    "where",
    "with",
    "recursive",
    "as",
    "(",
    ")",
    ",",
    ".",
    "*",
    "a",
    "t",
    "1",
    "$1",
    "'s'",
    "f(",
    "union",
    "all",
    "except",
    "insert into",
    "values",
    "update",
    "set",
    "=",
    "delete from",
    "returning",
    "join",
    "left join",
    "natural",
    "cross join",
    "on",
    "using",
    "lateral",
    "order by",
    "group by",
    "limit",
    "offset",
    "for update",
    "::",
    "int",
    "int array",
    "foo",
    "case",
    "when",
    "then",
    "else",
    "end",
    "not",
    "in",
    "exists",
    "array",
    "[",
    "]",
    "interval",
    "filter",
    "over",
    "and",
    "or",
    "between",
    "is",
    "null",
    "like",
    "-",
    "+",
    "->",
    "<->",
    ";",
    "distinct",
    "only",
    "table",
    "into",
    "cast",
    "extract",
    "position",
    "substring",
    "trim",
    "row",
    "any",
    "some",
    "at time zone",
    "collate",
    "operator",
    "merge into",
    "begin",
    "if",
    "explain",
    "date",
    "timestamp",
    "struct",
    "map",
    "unnest",
    "pivot",
    "prior",
    "convert",
    "ceil",
    "overlay",
    "window",
    "partition by",
    "rollup",
    "cube",
    "grouping sets",
    ":",
    ":=",
    "=>",
    "?",
    "@>",
    "~",
    "default",
    "point",
    "nested",
    "tuple",
    "varchar",
    "current_time",
    "within group",
    "tablesample",
    "match_recognize",
    "json_table",
    "lambda",
    "try_cast",
    "setof",
    "trigger",
    "enum",
    "lowcardinality",
    "nullable",
    "<",
    ">",
];
