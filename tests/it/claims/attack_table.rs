//! The attacks on claims: the statements of each, and what comes of them.

/// A setting of acme's, taken while it was in force.
pub(super) const LOOT: &str = "(select what from loot limit 1)";

/// The outcome of an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The caller sees its own rows, as before.
    Own,
    /// It sees none.
    Nothing,
    /// A statement fails with this reason.
    Refused(&'static str),
}

use Outcome::{Nothing, Own, Refused};

const DENIED: Outcome = Refused("INSUFFICIENT_PRIVILEGE");

/// Each attack: statements of one transaction, and what comes of them. `LOOT` is a setting of acme's.
pub(super) const ATTACKS: &[(&str, &[&str], Outcome)] = &[
    ("nothing", &[], Own),
    (
        "plain claims",
        &["select set_config('rowgate.claims', '{\"tenant\":\"acme\"}', true)"],
        Nothing,
    ),
    (
        "plain claims of the session",
        &["select set_config('rowgate.claims', '{\"tenant\":\"acme\"}', false)"],
        Nothing,
    ),
    ("set local", &["set local rowgate.claims = '{\"tenant\":\"acme\"}'"], Nothing),
    ("set session", &["set session rowgate.claims = 'acme'"], Nothing),
    (
        "another tenant under the own seal",
        &[
            "select set_config('rowgate.claims', replace(current_setting('rowgate.claims'), 'beta', 'acme'), true)",
        ],
        Nothing,
    ),
    (
        "a claim behind the own ones",
        &[
            "select set_config('rowgate.claims', current_setting('rowgate.claims') || ',{\"tenant\":\"acme\"}', true)",
        ],
        Nothing,
    ),
    (
        "a seal of zeros",
        &["select set_config('rowgate.claims', repeat('0', 64) || '{\"tenant\":\"acme\"}', true)"],
        Nothing,
    ),
    (
        "an empty seal",
        &["select set_config('rowgate.claims', repeat(' ', 64) || '{\"tenant\":\"acme\"}', true)"],
        Nothing,
    ),
    (
        "the seal of another transaction",
        &["select set_config('rowgate.claims', LOOT, true)"],
        Nothing,
    ),
    ("the same for the session", &["select set_config('rowgate.claims', LOOT, false)"], Nothing),
    (
        "its seal, the own claims",
        &[
            "select set_config('rowgate.claims', left(LOOT, 64) || substr(current_setting('rowgate.claims'), 65), true)",
        ],
        Nothing,
    ),
    (
        "the own seal, its claims",
        &[
            "select set_config('rowgate.claims', left(current_setting('rowgate.claims'), 64) || substr(LOOT, 65), true)",
        ],
        Nothing,
    ),
    ("reset", &["reset rowgate.claims"], Nothing),
    ("reset all", &["reset all"], Nothing),
    ("set to default", &["set rowgate.claims to default"], Nothing),
    ("discard", &["discard all"], Refused("ACTIVE_SQL_TRANSACTION")),
    (
        "an own signature",
        &["select rowgate.set_claims('{\"tenant\":\"acme\"}', 9000000000000000, sha256('x'))"],
        Refused("RG001"),
    ),
    (
        "no signature",
        &["select rowgate.set_claims('{\"tenant\":\"acme\"}', 9000000000000000, '')"],
        Refused("RG001"),
    ),
    (
        "a signature of NULL",
        &["select rowgate.set_claims('{\"tenant\":\"acme\"}', 9000000000000000, null)"],
        Own,
    ),
    (
        "the seal as the signature",
        &[
            "select rowgate.set_claims(substr(LOOT, 65), 9000000000000000, decode(left(LOOT, 64), 'hex'))",
        ],
        Refused("RG001"),
    ),
    (
        "the own seal as the signature",
        &[
            "select rowgate.set_claims(substr(current_setting('rowgate.claims'), 65), 9000000000000000, decode(left(current_setting('rowgate.claims'), 64), 'hex'))",
        ],
        Refused("RG001"),
    ),
    ("read the keys", &["select * from rowgate.claim_keys"], DENIED),
    ("copy the keys", &["create table mine as table rowgate.claim_keys"], DENIED),
    (
        "an own key",
        &[
            "insert into rowgate.claim_keys values ('a', repeat('a', 64)::bytea, repeat('a', 64)::bytea)",
        ],
        DENIED,
    ),
    (
        "change the keys",
        &["update rowgate.claim_keys set inner_pad = repeat('a', 64)::bytea"],
        DENIED,
    ),
    ("remove the keys", &["delete from rowgate.claim_keys"], DENIED),
    ("truncate the keys", &["truncate rowgate.claim_keys"], DENIED),
    ("drop the keys", &["drop table rowgate.claim_keys"], DENIED),
    ("a policy for the keys", &["create policy p on rowgate.claim_keys using (true)"], DENIED),
    (
        "a trigger on the keys",
        &[
            "create trigger t before insert on rowgate.claim_keys execute function suppress_redundant_updates_trigger()",
        ],
        DENIED,
    ),
    (
        "statistics of the keys",
        &["select 1 / count(*) from pg_stats where tablename = 'claim_keys'"],
        Refused("DIVISION_BY_ZERO"),
    ),
    ("lock the keys", &["lock table rowgate.claim_keys in access share mode"], DENIED),
    (
        "a reference to the keys",
        &["create table mine (id text references rowgate.claim_keys)"],
        DENIED,
    ),
    ("inherit the keys", &["create table mine () inherits (rowgate.claim_keys)"], DENIED),
    (
        "replace the function",
        &[
            "create or replace function rowgate.claim(name text) returns text language sql as $$ select 'acme' $$",
        ],
        DENIED,
    ),
    (
        "another function of its name",
        &[
            "create function rowgate.claim(name varchar) returns text language sql as $$ select 'acme' $$",
        ],
        DENIED,
    ),
    ("drop the function", &["drop function rowgate.claim(text) cascade"], DENIED),
    ("alter the function", &["alter function rowgate.claim(text) security invoker"], DENIED),
    ("its search path", &["alter function rowgate.claim(text) set search_path = public"], DENIED),
    ("own the function", &["alter function rowgate.claim(text) owner to app"], DENIED),
    ("rename the schema", &["alter schema rowgate rename to other"], DENIED),
    ("drop the schema", &["drop schema rowgate cascade"], DENIED),
    ("be the owner", &["set role rowgate_claims"], DENIED),
    ("be the owner of the tables", &["set role owner_of_orders"], DENIED),
    ("be a superuser", &["set session authorization postgres"], DENIED),
    ("join the owner", &["grant rowgate_claims to app"], DENIED),
    ("own policy", &["create policy mine on orders using (true)"], DENIED),
    ("alter the policy", &["alter policy of_tenant on orders using (true)"], DENIED),
    ("drop the policy", &["drop policy of_tenant on orders"], DENIED),
    ("turn row security off", &["alter table orders disable row level security"], DENIED),
    ("pass over row security", &["set row_security = off", "table orders"], DENIED),
    ("pass over it as the role", &["alter role current_user bypassrls"], DENIED),
    ("a default of the role", &["alter role current_user set rowgate.claims = 'x'"], DENIED),
    (
        "an operator in the way",
        &[
            "create schema evil",
            "create function evil.yes(text, text) returns bool language sql as 'select true'",
            "create operator evil.= (leftarg = text, rightarg = text, function = evil.yes)",
            "create function evil.yes(bytea, bytea) returns bool language sql as 'select true'",
            "create operator evil.= (leftarg = bytea, rightarg = bytea, function = evil.yes)",
            "set local search_path = evil, pg_catalog, public",
            "select set_config('rowgate.claims', LOOT, true)",
        ],
        Nothing,
    ),
    (
        "functions in the way",
        &[
            "create schema evil",
            "create function evil.sha256(bytea) returns bytea language sql as $$ select ''::bytea $$",
            "create function evil.transaction_timestamp() returns timestamptz language sql as $$ select 'epoch'::timestamptz $$",
            "create function evil.convert_to(text, text) returns bytea language sql as $$ select ''::bytea $$",
            "create function evil.current_setting(text, bool) returns text language sql as $$ select 'acme' $$",
            "create function evil.json_object_field_text(json, text) returns text language sql as $$ select 'acme' $$",
            "set local search_path = evil, pg_catalog, public",
            "select set_config('rowgate.claims', LOOT, true)",
        ],
        Nothing,
    ),
    (
        "temporary objects in the way",
        &[
            "create temp table claim_keys (inner_pad bytea, outer_pad bytea)",
            "create temp table orders_ (tenant text)",
            "create domain pg_temp.json as text",
            "create function pg_temp.sha256(bytea) returns bytea language sql as $$ select ''::bytea $$",
            "set local search_path = pg_temp, pg_catalog, public",
        ],
        Own,
    ),
    (
        "types in the way",
        &[
            "create schema evil",
            "create domain evil.text as pg_catalog.text",
            "create domain evil.json as pg_catalog.text",
            "create domain evil.bytea as pg_catalog.bytea",
            "set local search_path = evil, pg_catalog, public",
        ],
        Own,
    ),
    (
        "strings that read otherwise",
        &[
            "set local standard_conforming_strings = off",
            "set local bytea_output = escape",
            "set local datestyle = 'SQL, DMY'",
            "set local timezone = 'Asia/Tokyo'",
        ],
        Own,
    ),
    ("another encoding", &["set local client_encoding = 'SQL_ASCII'"], Own),
    (
        "parallel workers",
        &[
            "set local parallel_setup_cost = 0",
            "set local parallel_tuple_cost = 0",
            "set local min_parallel_table_scan_size = 0",
        ],
        Own,
    ),
    ("generic plans", &["set local plan_cache_mode = force_generic_plan"], Own),
    (
        "a leaky function",
        &[
            "create function leak(text) returns bool language plpgsql cost 0.0000001 as $$ begin if $1 <> 'beta' then raise division_by_zero; end if; return true; end $$",
            "select count(*) from orders where leak(tenant)",
        ],
        Own,
    ),
    (
        "a leaky operator",
        &["select count(*) from orders where 1 / (case tenant when 'beta' then 1 else 0 end) = 1"],
        Own,
    ),
    (
        "a function with its owner's rights",
        &[
            "create function mine() returns text language sql security definer as $$ select string_agg(distinct tenant, ',') from orders $$",
            "select 1 / (case mine() when 'beta' then 1 else 0 end)",
        ],
        Own,
    ),
    (
        "a view",
        &[
            "create view mine as select * from orders",
            "select 1 / (case when exists (select from mine where tenant = 'acme') then 0 else 1 end)",
        ],
        Own,
    ),
    (
        "a subtransaction",
        &[
            "do $$ begin perform set_config('rowgate.claims', 'x', true); raise division_by_zero; exception when division_by_zero then null; end $$",
        ],
        Own,
    ),
    (
        "a procedure that commits",
        &["create procedure mine() language plpgsql as $$ begin commit; end $$", "call mine()"],
        Refused("INVALID_TRANSACTION_TERMINATION"),
    ),
    ("another database session", &["create extension dblink"], DENIED),
    ("files of the server", &["select pg_read_file('log')"], DENIED),
    ("programs of the server", &["copy loot to program 'cat'"], DENIED),
    (
        "the texts of the session",
        &[
            "select 1 / (case when exists (select from pg_prepared_statements where statement like 'select rowgate.set%{%') then 0 else 1 end)",
        ],
        Own,
    ),
    (
        "the activity of the session",
        &[
            "select 1 / (case when exists (select from pg_stat_activity where query like 'select rowgate.set%{%') then 0 else 1 end)",
        ],
        Own,
    ),
];
