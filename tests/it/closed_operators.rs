//! Operators of somebody's: only those that a statement can reach make it suspect.

use crate::closed_effects::{check, service};
use crate::session_effects::resetting;

/// An operator whose name no built-in one has, over code that marks its session.
const MARKING: &str = "
    create function like_it(int, int) returns bool language sql immutable as 'select mark($1) = $2';
    create operator === (leftarg = int, rightarg = int, function = like_it);";

/// Statements that name operators and functions, none of them that one.
const ORDINARY: &[&str] = &[
    "select id from t where id = 1 and name <> 'y' and not id between 2 and 3 or id in (4, 5)",
    "select -id, id::text || 'x', case id when 1 then 2 end from t as a join t as b using (id)",
    "select count(*) from t where name like 'x%' and name is distinct from 'z' group by name order by name",
    "insert into t values (9, 'x')",
    "update t set id = id + 1 where id = 9",
];

#[tokio::test]
async fn one_that_no_text_but_its_own_can_name_costs_the_others_nothing() {
    let service = service(MARKING).await;
    assert_eq!(resetting(&service, ORDINARY).await, [""; 0]);
    let naming = [
        "select id === 1 from t",
        "select * from t where id operator(public.===) 1",
        "select * from t where id === any (array[1])",
        "update t set name = 'z' where id === 7",
    ];
    assert_eq!(resetting(&service, &naming).await, naming);
}

#[tokio::test]
async fn one_with_the_name_of_a_built_in_one_is_suspected_everywhere() {
    for name in ["=", "~~", "||", "->", "@>", "?|", "^@", "#-", "!~~*"] {
        let operator =
            format!("create operator {name} (leftarg = t, rightarg = t, function = same)");
        let setup = format!(
            "create function same(t, t) returns bool language sql as 'select mark(1) = 1'; {operator}"
        );
        check(&setup, &["select count(*) from t"]).await;
    }
}

#[tokio::test]
async fn one_that_a_built_in_one_is_negated_to_is_found() {
    let negator = "
        create function apart(box, box) returns bool language sql immutable as 'select mark(1) = 0';
        create operator !&& (leftarg = box, rightarg = box, function = apart, negator = &&);";
    let boxes = "create table boxes (b box);";
    let negated = "select count(*) from boxes as a, boxes as c where not (a.b && c.b)";
    check(&format!("{negator} {boxes}"), &[negated]).await;
    let own = service(&format!("{MARKING} {boxes}")).await;
    assert_eq!(resetting(&own, &[negated]).await, [""; 0]);
}

#[tokio::test]
async fn one_of_a_family_is_found() {
    let wide = MARKING.replace("int, int)", "int, numeric)");
    let wide = wide.replace("rightarg = int,", "rightarg = numeric,");
    let family = "alter operator family integer_ops using btree add operator 3 === (int, numeric);";
    check(&format!("{wide} {family}"), &["select id from t where id = 1"]).await;
}

#[tokio::test]
async fn one_that_a_built_in_function_in_sql_may_name_is_found() {
    let index = "create table padded (name text); create index on padded (lpad(name, 3));
        create domain short as text check (lpad(value, 3) = 'x'); create table of_short (name short);";
    let calls = ["select lpad('x', 3)", "select name from padded", "select name from of_short"];
    check(&format!("{MARKING} {index}"), &calls).await;
}

/// An operator over built-in code, whose negator's is not, where planning negates it.
const NEGATED: &str = "
    create function differ(int, int) returns bool language sql immutable as 'select mark($1) <> $2';
    create operator !=== (leftarg = int, rightarg = int, function = differ, negator = ===);
    create operator === (leftarg = int, rightarg = int, function = int4eq, negator = !===);
    create table checked (id int check (not (id === 1)));
    create domain unlike as int check (not (value === 1));
    create table holding (id unlike);";

#[tokio::test]
async fn one_in_a_check_is_found() {
    check(NEGATED, &["select id from checked"]).await;
}

#[tokio::test]
async fn one_in_a_domain_is_found() {
    check(NEGATED, &["select id from holding"]).await;
    assert_eq!(resetting(&service(NEGATED).await, &["select id from t"]).await, [""; 0]);
}
