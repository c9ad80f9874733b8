//! The facts of texts, in tables.

use super::*;

fn sent(sql: &str) -> (String, Vec<u16>) {
    let text = MysqlStatement::of(sql).text.expect(sql);
    (text.sql, text.order)
}

#[test]
fn parameters_are_written_as_the_protocol_takes_them() {
    let cases: [(&str, &str, &[u16]); 26] = [
        ("select $1", "select ?", &[1]),
        ("select $2, $1, $2", "select ?, ?, ?", &[2, 1, 2]),
        ("select '$1', \"$2\", `$3`, $1", "select '$1', \"$2\", `$3`, ?", &[1]),
        (r"select 'it\'s $1', $1", r"select 'it\'s $1', ?", &[1]),
        ("select 'it''s $1', $1", "select 'it''s $1', ?", &[1]),
        ("select `a``$1`, $1", "select `a``$1`, ?", &[1]),
        ("select 1 # $1\n, $1", "select 1 # $1\n, ?", &[1]),
        ("select 1 -- $1\n, $1", "select 1 -- $1\n, ?", &[1]),
        ("select 5--$1", "select 5--?", &[1]),
        ("select /* $1 */ $1", "select /* $1 */ ?", &[1]),
        ("select /* /* $1 */ $1", "select /* /* $1 */ ?", &[1]),
        ("select /*!50000 $1 */", "select /*!50000 ? */", &[1]),
        ("select /*M!100100 $1 */ + $2", "select /*M!100100 ? */ + ?", &[1, 2]),
        ("select a$1, @$1, @@x.$1, $1", "select a$1, @$1, @@x.$1, ?", &[1]),
        ("select @`$1`, @'$1', $1", "select @`$1`, @'$1', ?", &[1]),
        ("select é$1, $1", "select é$1, ?", &[1]),
        ("select $1;", "select ?", &[1]),
        ("select $1 ; ; -- done", "select ?", &[1]),
        ("select '🎉', $1", "select '🎉', ?", &[1]),
        (
            "select x'41', n'a', _utf8mb4'$1', 0x1F, 1e5, $1",
            "select x'41', n'a', _utf8mb4'$1', 0x1F, 1e5, ?",
            &[1],
        ),
        ("select a->'$.x', a->>'$[1]' from t", "select a->'$.x', a->>'$[1]' from t", &[]),
        ("select ($1)in($2)", "select (?)in(?)", &[1, 2]),
        (";/* a; */ select $1", "/* a; */ select ?", &[1]),
        ("/* a; */ select $1", "/* a; */ select ?", &[1]),
        ("/*! select $1; */", "/*! select ? */", &[1]),
        ("/*! select $1 /* x */ -- y\n*/;", "/*! select ? */", &[1]),
    ];
    for (sql, expected, order) in cases {
        assert_eq!(sent(sql), (expected.to_owned(), order.to_vec()), "{sql}");
    }
}

#[test]
fn texts_that_cannot_be_read_are_refused_with_their_line() {
    let cases = [
        ("select ?", "not ?"),
        ("select $1a", "no letter behind"),
        ("select $0", "$1 to $65535"),
        ("select $65536", "$1 to $65535"),
        ("select $$", "no number"),
        ("select $1$2", "no letter behind"),
        ("select $1@x", "no letter behind"),
        ("select 'open", "string does not end"),
        ("select \"open\\\"", "string does not end"),
        ("select `open", "name does not end"),
        ("select /* open", "comment does not end"),
        ("select /*! open", "comment does not end"),
        ("select 1; select 2", "more than one statement"),
        ("select 1;\nselect 2", "(line 2)"),
        ("select \0", "NUL"),
        ("/*! /*! x */ */", "do not nest"),
    ];
    for (sql, why) in cases {
        let found = match MysqlStatement::of(sql).text.expect_err(sql) {
            Unsendable::Invalid(found) => found,
            Unsendable::Several { line } => format!("more than one statement (line {line})"),
        };
        assert!(found.contains(why), "{sql}: {found}");
    }
}

#[test]
fn the_body_of_a_routine_may_hold_semicolons() {
    for sql in [
        "create procedure p() begin select 1; select 2; end",
        "CREATE DEFINER=`a`@`b` TRIGGER t BEFORE INSERT ON x FOR EACH ROW BEGIN SET @a = 1; SET @b = 2; END;",
        "create or replace function f() returns int begin return 1; end",
    ] {
        assert!(MysqlStatement::of(sql).text.is_ok(), "{sql}");
        assert!(!MysqlStatement::of(sql).is_plain(), "{sql}");
    }
}

/// Statements that commit nothing.
const ADMITTED: &[&str] = &[
    "select 1",
    "(select 1)",
    "with a as (select 1) select * from a",
    "values (1)",
    "table t",
    "insert into t values (1)",
    "replace into t values (1)",
    "update t set a = 1",
    "delete from t",
    "do 1",
    "set @a = 1",
    "set session foreign_key_checks = 0",
    "set @@local.unique_checks := 0, @a := (select 1, 2)",
    "show tables",
    "explain select 1",
    "describe t",
    "desc t",
    "call p()",
    "create temporary table t (a int)",
    "create or replace temporary table t (a int)",
    "drop temporary table t",
    "-- x\nselect 1",
    "select /*! straight_join */ 1 from t",
    "select /*+ NO_MERGE() */ 1",
    "/* x */ select 1",
    "select 'commit'",
    "select 1 -- commit",
];

/// Statements that commit, or may.
const REFUSED: &[&str] = &[
    "commit",
    "/*! commit */",
    "/*!99999 x */ commit",
    "/*!50000 select */ commit",
    "begin",
    "start transaction",
    "rollback",
    "rollback to savepoint a",
    "savepoint a",
    "release savepoint a",
    "xa start 'x'",
    "set autocommit = 1",
    "set @@autocommit = 1",
    "set @a = 1, autocommit = 1",
    "set session autocommit = 1",
    "set transaction read only",
    "set session transaction isolation level serializable",
    "set statement max_statement_time = 1 for commit",
    "set password = 'x'",
    "set default role a to b",
    "set role a",
    "execute s",
    "execute immediate 'commit'",
    "prepare s from 'commit'",
    "deallocate prepare s",
    "if 1 then commit; end if",
    "begin not atomic commit; end",
    "create table t (a int)",
    "create index i on t (a)",
    "drop table t",
    "drop index i on t",
    "alter table t add b int",
    "truncate t",
    "truncate table t",
    "rename table a to b",
    "grant all on a to b",
    "revoke all on a from b",
    "analyze table t",
    "flush tables",
    "lock tables t read",
    "unlock tables",
    "load data infile 'x' into table t",
    "handler t open",
    "use other",
    "optimize table t",
    "install plugin p soname 's'",
    "kill 5",
    "create temporary procedure p() select 1",
    "create user a",
    "nonsense",
    "",
    ";",
    "/*! select 1 */",
    "loop commit; end loop",
    "case 1 when 1 then commit; end case",
    "signal sqlstate '45000'",
    "(commit)",
    "select1",
    "/*!50000 create */ temporary table t (a int)",
];

#[test]
fn units_take_what_commits_nothing() {
    for sql in ADMITTED {
        assert_eq!(MysqlStatement::of(sql).unit, UnitAdmission::Admitted, "{sql}");
    }
    for sql in REFUSED {
        assert_ne!(MysqlStatement::of(sql).unit, UnitAdmission::Admitted, "{sql}");
    }
}

#[test]
fn transaction_control_is_named_alone_as_well() {
    let cases = [
        ("begin", Some("BEGIN")),
        ("START TRANSACTION", Some("START TRANSACTION")),
        ("/* x */ commit", Some("COMMIT")),
        ("set autocommit=0", Some("SET autocommit")),
        ("set transaction read only", Some("SET TRANSACTION")),
        ("create table t (a int)", None),
        ("prepare s from 'select 1'", None),
        ("select 1", None),
        ("begin; select 1", Some("BEGIN")),
        (";; rollback", Some("ROLLBACK")),
        ("/*! commit */", Some("COMMIT")),
        ("/*!99999 x */ commit", Some("COMMIT")),
    ];
    for (sql, expected) in cases {
        assert_eq!(MysqlStatement::of(sql).transaction_control(), expected, "{sql}");
    }
}

#[test]
fn reads_are_known_by_their_command() {
    for sql in [
        "select 1",
        "select * from t where a = $1",
        "with a as (select 1) select * from a",
        "values (1)",
        "table t",
        "show tables",
        "explain delete from t",
        "describe t",
        "(select 1) union (select 2)",
        "select 'into'",
        "select `into` from t",
    ] {
        assert!(MysqlStatement::of(sql).reads, "{sql}");
    }
    for sql in [
        "select 1 into @a",
        "select 1 into outfile 'x'",
        "select * from t into dumpfile 'x'",
        "select * from t for update",
        "select * from t lock in share mode",
        "select * from t for share",
        "insert into t values (1)",
        "with a as (select 1) delete from t",
        "explain analyze select 1",
        "call p()",
        "do 1",
        "set @a = 1",
        "create table t (a int)",
        "/*! select 1 */",
        "select /*! 1 into @a */",
        "table t into outfile 'x'",
        "values (1) into @a",
    ] {
        assert!(!MysqlStatement::of(sql).reads, "{sql}");
    }
}

fn tables(sql: &str) -> Option<Vec<String>> {
    let facts = MysqlStatement::of(sql);
    let name = |table: &MysqlTable| match &table.schema {
        Some(schema) => format!("{schema}.{}", table.name),
        None => table.name.clone(),
    };
    facts.tables.map(|tables| tables.iter().map(name).collect())
}

/// Plain statements, and the tables that they name.
const PLAIN: &[(&str, &[&str])] = &[
    ("select 1", &[]),
    ("select now(), count(*), max(a) from t", &["t"]),
    ("select * from a, b join c on a.x = b.x, d where f in (1, 2)", &["a", "b", "c", "d"]),
    ("select * from `a``b` x", &["a`b"]),
    ("select * from s.t, `s`.`u`", &["s.t", "s.u"]),
    ("select (select max(b) from u) from t", &["t", "u"]),
    ("select * from (select * from t) x join (u, v) on 1", &["t", "u", "v"]),
    (
        "select * from t where a in (select b from u where exists (select 1 from v))",
        &["t", "u", "v"],
    ),
    ("select * from a union all select * from b order by 1 limit 5", &["a", "b"]),
    ("(select * from a) union (select * from b)", &["a", "b"]),
    (
        "select extract(year from d), trim(both 'x' from s), substring(s from 2 for 3) from t",
        &["t"],
    ),
    ("select * from t left join u using (a) natural join v", &["t", "u", "v"]),
    ("select * from t force index (i) where a = $1", &["t"]),
    ("select * from t order by a desc limit 1 offset 2", &["t"]),
    ("select a, rank() over (partition by b order by c) from t", &["t"]),
    ("select cast(a as signed), cast(b as datetime(6)), convert(c, char(5)) from t", &["t"]),
    ("select * from t where a = any (select b from u)", &["t", "u"]),
    ("select * from t where match (a) against ('x')", &["t"]),
    ("select case when (a) then (b) else (c) end from t", &["t"]),
    ("select * from dual", &[]),
    (
        "select group_concat(distinct a order by b separator ',') from t group by c with rollup",
        &["t"],
    ),
    ("with x as (select * from t) select * from x, u", &["t", "u"]),
    (
        "with recursive x (n) as (select 1 union all select n + 1 from x where n < 5) select * from x",
        &[],
    ),
    ("with x as (select 1) delete from t where a in (select * from x)", &["t"]),
    ("insert into t values (1, 'a')", &["t"]),
    ("insert into t (a, b) values ($1, $2), ($3, $4)", &["t"]),
    ("insert ignore into s.t (a) values (1)", &["s.t"]),
    ("insert t set a = 1", &["t"]),
    ("insert into t (a) select b from u", &["t", "u"]),
    ("insert into t (a) values (1) on duplicate key update a = values(a), b = b + 1", &["t"]),
    ("insert into t (a) values (1) returning a", &["t"]),
    ("replace into t (a) values (replace('a', 'b', 'c'))", &["t"]),
    ("replace low_priority t values (1)", &["t"]),
    ("update t set a = a + 1 where b = $1", &["t"]),
    ("update low_priority ignore t, u set t.a = u.a where t.b = u.b", &["t", "u"]),
    ("update t join u on t.a = u.a set t.b = 1", &["t", "u"]),
    ("delete from t where a = $1", &["t"]),
    ("delete t from t join u on t.a = u.a", &["t", "u"]),
    ("delete from t using t join u on t.a = u.a where u.b = 1", &["t", "u"]),
    ("select * from t for update", &["t"]),
    (
        "insert into t with recursive c(n) as (select 1 union all select n + 1 from c) select count(*) from c",
        &["t"],
    ),
    ("insert into c with c as (select 1) select * from c", &["c"]),
    ("insert into t with c as (select * from u) select * from c, v", &["t", "u", "v"]),
];

#[test]
fn plain_statements_name_their_tables() {
    for (sql, expected) in PLAIN {
        let expected: Vec<String> = expected.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(tables(sql), Some(expected), "{sql}");
    }
}

/// Statements that may leave something behind in their session.
const NOT_PLAIN: &[&str] = &[
    "select @a := 1",
    "select @a",
    "select @@sql_mode",
    "select 1 into @a",
    "set @a = 1",
    "do 1",
    "select get_lock('a', 1)",
    "select release_lock('a')",
    "select last_insert_id()",
    "select last_insert_id(5)",
    "insert into t values (last_insert_id())",
    "select found_rows()",
    "select row_count()",
    "select nextval(s)",
    "select lastval(s)",
    "select setval(s, 1)",
    "select next value for s",
    "select previous value for s",
    "select f(1)",
    "select s.f(1)",
    "select s.now()",
    "select `now`()",
    "select now ()",
    "select count (*) from t",
    "select count/**/(*) from t",
    "select load_file('x')",
    "select * from t procedure analyse()",
    "select /*! 1 */",
    "select /*+ SET_VAR(sql_mode = '') */ 1",
    "call p()",
    "show tables",
    "create table t (a int)",
    "select * from f(1)",
    "select * from json_table('[]', '$[*]' columns (a int path '$')) x",
    "select any(1)",
    "select some(1)",
    "select datetime(1)",
    "select signed(1)",
    "select against(1)",
    "select row_count()",
    "select benchmark(1, f(1))",
    "with x as (select f(1)) select * from x",
    "select (with x as (select 1) select * from x)",
    "select * from t x(a)",
    "values (@a)",
    "insert into t values (f(1))",
    "insert into t (a) values (1) on duplicate key update a = last_insert_id(a)",
    "update t set a = f(b)",
    "delete from t where f(a)",
    "select a from t order by f(a)",
    "lock tables t read",
    "handler t open",
    "use x",
    "prepare s from 'x'",
    "explain select 1",
];

#[test]
fn the_one_table_that_is_written_is_known_where_it_is_certain() {
    for (sql, target) in [
        ("insert into t select * from a", Some("t")),
        ("insert low_priority into s.t (n) values (1)", Some("t")),
        ("replace into t set n = (select max(n) from a)", Some("t")),
        ("insert into a values (1) on duplicate key update n = 2", Some("a")),
        ("update t set n = 1", Some("t")),
        ("delete from `t` where n = 1", Some("t")),
        ("delete x from t as x", Some("t")),
        ("update t, a set t.n = a.n", None),
        ("update t set n = (select max(n) from a)", None),
        ("delete t from t join a on t.n = a.n", None),
        ("select * from t for update", None),
        ("call t()", None),
        ("load data infile 'x' into table t", None),
    ] {
        let found = MysqlStatement::of(sql).target;
        assert_eq!(found.as_ref().map(|table| table.name.as_str()), target, "{sql}");
    }
}

#[test]
fn what_may_leave_something_behind_is_not_plain() {
    for sql in NOT_PLAIN {
        assert_eq!(tables(sql), None, "{sql}");
    }
}

#[test]
fn the_main_command_is_named() {
    for (sql, command) in [
        ("with a as (select 1) update t set a = 1", "UPDATE"),
        ("with a as (select 1) select 1", "SELECT"),
        ("with a as (select 1) (select 1)", "SELECT"),
        ("((select 1))", "SELECT"),
        ("Insert into t values (1)", "INSERT"),
        ("nonsense", "OTHER"),
        ("", "OTHER"),
    ] {
        assert_eq!(MysqlStatement::of(sql).command, command, "{sql}");
    }
}

proptest::proptest! {
    #[test]
    fn nothing_but_parameters_is_changed(sql in "[a-c$1-3'\"`@#?*/! \\\\;().,\n-]{0,40}") {
        if let Ok(text) = MysqlStatement::of(&sql).text {
            let changed = text.sql.chars().filter(|c| *c == '?').count();
            let before = sql.chars().filter(|c| *c == '?').count();
            proptest::prop_assert!(changed <= before + text.order.len());
        }
    }
}
