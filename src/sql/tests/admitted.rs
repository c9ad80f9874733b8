//! Statements that are admitted, with all that they use.

use super::summary;

fn check(cases: &[(&str, &str)]) {
    let wrong: Vec<_> = cases
        .iter()
        .filter(|(sql, expected)| summary(sql) != *expected)
        .map(|(sql, expected)| format!("{sql}\n  is  {}\n  not {expected}", summary(sql)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn queries_are_reads_with_all_that_they_use() {
    check(READS);
}

#[test]
fn common_table_expressions_hide_relations_only_in_their_scope() {
    check(SCOPES);
}

#[test]
fn changes_of_rows_are_changes() {
    check(CHANGES);
}

#[test]
fn foreign_operators_and_types_are_exotic() {
    check(EXOTIC);
}

#[test]
fn a_carriage_return_ends_a_line_comment_as_in_postgresql() {
    check(&[
        ("select 1 --\r, f(1)", "read f / "),
        ("select 1 /* /* */ , f(1) */ , g(1)", "read g / "),
    ]);
}

const READS: &[(&str, &str)] = &[
    ("select 1", "read  / "),
    ("; select 1;;", "read  / "),
    ("/*traceparent='x'*/ SELECT v FROM t WHERE id = $1 --x", "read  / t"),
    ("(select 1) union all (select 2) order by 1", "read  / "),
    ("values (1,'a'),(2,f('b'))", "read f / "),
    ("select from t", "read  / t"),
    (
        "select * from T, \"T\", s.t, \"S\".\"t\", pg_catalog.pg_class, \"a.b\", \"q\"\"q\"",
        "read  / \"S\".t,\"T\",\"a.b\",\"q\"\"q\",pg_catalog.pg_class,s.t,t",
    ),
    (
        "select F(1), \"F\"(1), pg_catalog.g(1), \"pg_catalog\".\"H\"(1), S.k(1), \"S\".l(1)",
        "read F,H,S.l,f,g,s.k / ",
    ),
    ("select set_config('role','none',true)", "read set_config / "),
    ("select nextval('s'), pg_advisory_lock(1)", "read nextval,pg_advisory_lock / "),
    ("select coalesce(a(1),b(2)), greatest(c(3)), nullif(d(4),1), row(e(5))", "read a,b,c,d,e / "),
    (
        "select extract(epoch from f(1)), position('a' in g(1)), trim(both 'x' from h(1))",
        "read f,g,h / ",
    ),
    (
        "select substring(f(1) from 1 for 2), substring(v,1,2), substr(v,1), overlay(v placing 'a' from 1), ceil(x), floor(x)",
        "read ceil,f,floor,overlay,substr,substring / ",
    ),
    (
        "select current_user, session_user, user, current_timestamp, current_date, localtime, current_timestamp(3), current_role",
        "read  / ",
    ),
    (
        "select left('abc',1), right(v,1), upper(v), lower(v), count(*), min(x) from t",
        "read count,left,lower,min,right,upper / t",
    ),
    (
        "select sum(f(x)) filter (where g(y)) over (partition by h(a) order by k(b) rows between l(1) preceding and current row) from t",
        "read f,g,h,k,l,sum / t",
    ),
    (
        "select percentile_cont(f(0)) within group (order by g(z)) from t",
        "read f,g,percentile_cont / t",
    ),
    (
        "select count(*) over w from t window w as (partition by f(a) order by g(b))",
        "read count,f,g / t",
    ),
    (
        "select array_agg(a order by f(b)), string_agg(distinct g(a), ',') from t",
        "read array_agg,f,g,string_agg / t",
    ),
    (
        "select distinct on (f(a)) a from t where g(a) group by h(a) having k(a) order by l(a) desc nulls last limit m(1) offset n(2)",
        "read f,g,h,k,l,m,n / t",
    ),
    ("select * from t order by a fetch first 3 rows only", "read  / t"),
    ("select * from t limit all", "read  / t"),
    (
        "select a from t group by grouping sets ((f(a)),()), rollup(g(b)), cube(h(c))",
        "read f,g,h / t",
    ),
    (
        "select * from f(1) a, lateral g(a.x) with ordinality b, s.h(2) as h(n, o), generate_series(1,$1)",
        "read f,g,generate_series,s.h /  / .x",
    ),
    ("select * from unnest(f(1), array[g(2)]) as u(a, b)", "read f,g,unnest / "),
    ("select * from a left join lateral f(a.x) as g(y) on h(1)", "read f,h / a / .x"),
    (
        "select * from a join b on a.x = b.x natural join c cross join d full outer join e using (x)",
        "read  / a,b,c,d,e / .x",
    ),
    ("select * from a, lateral (select * from b where b.x = f(a.x)) q", "read f / a,b / .x"),
    ("select * from json_to_recordset('[]') as x(a int, b text)", "read json_to_recordset / "),
    ("select * from f(1) as x(a my_type)", "read f /  !"),
    ("select * from (a join b on f(1)) join c on true", "read f / a,b,c"),
    ("select * from (values (1,f(2))) v(a,b) where a is null or b is not null", "read f / "),
    ("select * from t tablesample bernoulli (f(10)) repeatable (1)", "read f / t"),
    (
        "select array(select f(1)), exists (select g(1)), (select h(1)), 1 in (select k(1)), 1 = any (select l(1))",
        "read f,g,h,k,l / ",
    ),
    (
        "select a from t where b = any($1) and c <> all($2::text[]) and (d,e) in ((1,f(2)))",
        "read f / t",
    ),
    ("select case f(1) when g(1) then h(1) else k(1) end", "read f,g,h,k / "),
    (
        "select array[1,f(2)], array[[1],[g(2)]], a[h(1)], a[k(1):l(2)], (m(1))[1]",
        "read f,g,h,k,l,m / ",
    ),
    ("select t.a, (t).b, (f(1)).c, t.*, s.t.d, t.\"E\" from t", "read f / t / .E .a .b .c .d"),
    ("select a b, a as \"select\", a as user from t", "read  / t"),
    ("select f(a => g(1), b := h(2))", "read f,g,h / "),
    (
        "select j->'a'->>'b', j#>'{a,b}', j @> $1::jsonb, j ? 'k', j ?| array['a'], j - 'k', a || b, r && s, t @@ q from t",
        "read  / t",
    ),
    (
        "select a ilike b, a not like b escape '!', a similar to b, a ~ b, a !~* b, a between 1 and 2, a is not distinct from b from t",
        "read  / t",
    ),
    (
        "select a at time zone 'utc', a collate \"C\", a collate pg_catalog.\"C\", interval '1 day', interval '1' day, (a,b) overlaps (c,d) from t",
        "read  / t",
    ),
    ("select 10 % 3, 2 ^ 3, 7 # 2, 1 << 2, ~1, 5!=6, 1e5, .5, -1, +a, not b", "read  / "),
    (
        "select $1::int, cast($2 as numeric(10,2)), 'x'::varchar(3)[], int '5', date '2020-01-01', timestamp with time zone '2020-01-01', 1::pg_catalog.int4, $3::inet, $4::\"char\", $5::regclass, $6::timestamptz, $7::double precision, $8::int4range, $9::timestamp(3)",
        "read  / ",
    ),
    ("select e'a\\'b', $$it's$$, $t$it's$t$", "read  / "),
];

const SCOPES: &[(&str, &str)] = &[
    ("with a as (select f(1)) select * from a", "read f / "),
    ("with a as (select 1), b as (select * from a) select * from b", "read  / "),
    ("with a as (select * from b), b as (select 1) select * from a", "read  / b"),
    ("with a as (select * from a) select * from a", "read  / a"),
    (
        "with recursive r(n) as (select 1 union all select n+1 from r where n<10) select * from r",
        "read  / ",
    ),
    ("with recursive a as (select * from b), b as (select 1) select * from a", "read  / "),
    ("with a as (select 1) select * from s.a", "read  / s.a"),
    ("with a as (select 1) select * from \"A\"", "read  / \"A\""),
    ("with a as (select 1) select * from \"a\", A", "read  / "),
    ("select * from (with a as (select 1) select * from a) x, a", "read  / a"),
    ("(with a as (select 1) select * from a) union select * from a", "read  / a"),
    (
        "with a as (select 1) select * from t where exists (select from a where 1 in (select 2 from b, a))",
        "read  / b,t",
    ),
    ("with a as materialized (select 1) select * from a", "read  / "),
    ("with t as (select 1) insert into t select * from t", "change  / t"),
    ("with t as (select 1) update t set a = 1", "change  / t"),
    ("with t as (select 1) delete from t", "change  / t"),
];

const CHANGES: &[(&str, &str)] = &[
    ("insert into t values (1, default, f(2))", "change f / t"),
    ("insert into t default values", "change  / t"),
    (
        "insert into s.t as x (a, b) select f(1), 2 from u returning g(a), x.b",
        "change f,g / s.t,u / .b",
    ),
    (
        "insert into t(id) values ($1),($2) on conflict (id) do update set v=f(excluded.v), w = default where g(t.v) is distinct from excluded.v returning id, xmax = 0 as ins",
        "change f,g / t / .v",
    ),
    ("insert into t values (1) on conflict on constraint c do nothing", "change  / t"),
    (
        "update t set a = f(1), (b,c) = ($1,$2), d = default from s where t.id=s.id returning t.*, g(a)",
        "change f,g / s,t / .id",
    ),
    ("update t x set a = (select f(1)) where x.id = $1", "change f / t / .id"),
    ("delete from t using s where t.id = s.id and f(1) returning g(1)", "change f,g / s,t / .id"),
    ("delete from t", "change  / t"),
    (
        "merge into t using s on t.id=s.id when matched and f(1) then update set v=g(s.v) when not matched then insert (id,v) values (s.id,h(s.v))",
        "change f,g,h / s,t / .id .v",
    ),
    (
        "merge into t using s on a = b when matched then delete when not matched then do nothing",
        "change  / s,t",
    ),
    ("with d as (delete from t where id=f($1) returning *) select * from d", "change f / t"),
    (
        "with i as (insert into t values (1) returning *), u as (update u set a = 1 returning *) select * from i, u",
        "change  / t,u",
    ),
    ("select * from only t", "read  / t"),
    ("update only t set a = 1", "change  / t"),
    ("delete from only t", "change  / t"),
    ("insert into t (a) overriding system value values (f(1))", "change f / t"),
    ("insert into t values (1) on conflict (a) where f(b) do nothing", "change f / t"),
    ("select * from t join u using (a) as j", "read  / t,u"),
    ("select * from t for update", "change  / t"),
    ("select * from t for update of t skip locked", "change  / t"),
    ("select * from t for share nowait", "change  / t"),
    ("select * from (select * from t for update) x", "change  / t"),
    ("select 1 where exists (select f(1) from t for share)", "change f / t"),
];

const EXOTIC: &[(&str, &str)] = &[
    ("select a <-> b from t", "read  / t !"),
    ("select a <@> b, a +++ b from t", "read  / t !"),
    ("select a operator(pg_catalog.+) b from t", "read  / t !"),
    ("select a operator(My.###) b from t", "read  / t !"),
    ("select $1::citext", "read  /  !"),
    ("select foo '5'", "read  /  !"),
    ("select a 'b' from t", "read  / t !"),
    ("select cast($1 as s.my_type[])", "read  /  !"),
    ("select a::\"Char\" from t", "read  / t !"),
    ("select a::public.int4 from t", "read  / t !"),
    ("select row(1,2)::comp", "read  /  !"),
    ("insert into t values ($1::my_enum)", "change  / t !"),
];
