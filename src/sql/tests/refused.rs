//! Statements that are not admitted.

use proptest::prelude::*;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::{StatementClass, analyze, summary};
use crate::sql::classify::parser_tokens::parser_tokens;
use crate::sql::classify::{names, walk};

#[test]
fn whatever_is_not_on_the_list_is_other() {
    let admitted: Vec<_> = OTHERS
        .iter()
        .filter(|sql| analyze(sql).class != StatementClass::Other)
        .map(|sql| format!("{sql}: {}", summary(sql)))
        .collect();
    assert!(admitted.is_empty(), "{}", admitted.join("\n"));
}

#[test]
fn a_name_that_postgresql_would_cut_off_is_other() {
    for (length, is_other) in [(63, false), (64, true)] {
        for sql in ["select N(1)", "select * from N", "select t.N from t", "select \"N\" from t"] {
            let sql = sql.replace('N', &"n".repeat(length));
            assert_eq!(analyze(&sql).class == StatementClass::Other, is_other, "{sql}");
        }
    }
}

#[test]
fn transaction_control_is_never_admitted() {
    let analysis = analyze("/**/;commit");
    assert_eq!(analysis.transaction_control, Some("COMMIT"));
    assert_eq!(analysis.class, StatementClass::Other);
}

#[test]
fn a_statement_with_a_name_that_the_tree_does_not_hold_is_other() {
    let sql = "select a from t";
    let mut names = names::names(&parser_tokens(sql).unwrap());
    let parse = || Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0);
    assert!(walk::classify(&parse(), names.clone()).is_some());
    names.insert("hidden".to_owned());
    assert_eq!(walk::classify(&parse(), names), None);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(sql in any::<String>()) {
        analyze(&sql);
        analyze(&format!("select {sql}"));
    }

    #[test]
    fn no_mixture_of_sql_makes_it_panic_and_every_call_is_seen(
        words in prop::collection::vec(prop::sample::select(vec![
            "select", "from", "where", "with", "as", "(", ")", ",", ".", "*", "a", "t", "\"Q\"", "1", "$1", "'s'",
            "evil(1)", "union", "insert into", "values", "update", "set", "=", "delete from", "returning", "join", "on",
            "lateral", "order by", "limit", "for update", "::int", "::foo", "case", "when", "then", "end", "not", "in",
            "exists", "array[", "]", "[", "interval", "using", "filter", "over", "and", "or", "between", "is null",
            "like", "-", "->", "<->", ";", "--\n", "distinct on", "group by", "having", "only", "table", "into",
        ]), 0..25),
    ) {
        let sql = format!("select {}", words.join(" "));
        if let StatementClass::Read(uses) | StatementClass::Change(uses) = analyze(&sql).class {
            let called = uses.functions.iter().any(|name| name == "evil");
            // What it may be besides: an alias, a table or a type, with a list of columns behind it.
            let declared = sql.contains("as evil(1)") || sql.contains("into evil(1)");
            prop_assert!(called || declared || !sql.contains("evil"), "{}", sql);
        }
    }
}

const OTHERS: &[&str] = &[
    "",
    ";",
    "-- only comment",
    "x",
    "select 1; select 2",
    "select 1;select 2;",
    "select 1 into x",
    "select into x 1",
    "select 1 into temp x from t",
    "with a as (select 1 into x) select 1",
    "explain select 1",
    "explain analyze delete from t",
    "explain (analyze) select 1",
    "copy t from stdin",
    "copy (select 1) to stdout",
    "call p(1)",
    "do $$ begin end $$",
    "set a = 1",
    "set local a.b = 1",
    "reset all",
    "discard all",
    "show work_mem",
    "listen c",
    "notify c",
    "unlisten *",
    "declare c cursor for select 1",
    "fetch 1 from c",
    "close c",
    "prepare p as select 1",
    "execute p(1)",
    "deallocate p",
    "lock table t",
    "create table t (a int)",
    "create temp table t as select 1",
    "drop table t",
    "alter table t add a int",
    "truncate t",
    "vacuum t",
    "analyze t",
    "refresh materialized view v",
    "grant select on t to x",
    "comment on table t is 'x'",
    "begin",
    "commit",
    "table t",
    "select * from only (t)",
    "select * from t, lateral only (t)",
    "select * from t only",
    "select * from rows from (f(1))",
    "select * from xmltable('/a' passing x columns b int path 'b')",
    "select * from json_table(j, '$' columns (a int path '$.a'))",
    "select 1 as 'x'",
    "select * from t for no key update",
    "select * from t tablesample my_method (10)",
    "select f(variadic (g(1)))",
    "select u&'\\0041'",
    "select b'1'",
    "select x'1F'",
    "select n'x'",
    "select 'a\\' , f(1) --'",
    "select \"a.b\"(1)",
    "select a.b.c.f(1)",
    "select :a",
    "select @a",
    "select ?",
    "select {fn f(1)}",
    "select `a`",
    "select (f(1)).*",
    "select a from t where a isnull",
    "select top 1 a from t",
    "from t",
    "select * from t limit 1, 2",
    "select a.b:c from t",
    "select * exclude (a) from t",
    "select * from t pivot (f(a) for b in (1))",
    "select a from t qualify f(a)",
    "insert t values (1)",
    "insert overwrite t values (1)",
    "replace into t values (1)",
    "insert or replace into t values (1)",
    "insert into t set a = 1",
    "insert into t values (1) on duplicate key update a = 1",
    "update t, u set a = 1",
    "update t join u on 1=1 set a = 1",
    "update t set a = 1 limit 1",
    "delete t",
    "delete from t limit 1",
    "delete t from t join u on 1=1",
    "select convert(f(1), int)",
    "select try_cast(1 as int)",
    "select a rlike b",
    "select 1::datetime",
    "select f(1) ignore nulls over () from t",
    "select * from t order by a using >",
    "select * from t for xml auto",
    "select * from table(f(1))",
    "select * from t with (nolock)",
    "select date_trunc(a) from t settings x = 1",
    "select treat(a as b)",
    "select json_object('a': 1)",
    "select json_object('a' value f(1))",
    "select 1_000",
    "select 1a",
    "select 0x1F",
    "select f(x => 1) from t at x",
    "select 1 union by name select 2",
    "select 1 minus select 2",
    "\u{feff}select 1",
    "select 1, \u{feff}(2) x.y z",
];
