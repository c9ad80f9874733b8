//! The functions in the database alone: who signed for what, and where a signature counts.

use super::Database;

/// Functions of the superuser's that sign as Rowgate does.
const SIGN: &str = r"
create schema test;
create function test.hmac(message bytea) returns bytea language sql security definer as $$
    select sha256(outer_pad || sha256(inner_pad || message)) from rowgate.claim_keys limit 1 $$;
create function test.sign(session bytea, claims text, expires int8) returns bytea language sql as $$
    select test.hmac('rowgate claims: session'::bytea || session || int8send(expires) || claims::bytea) $$;
create function test.later(seconds int) returns int8 language sql as $$
    select (extract(epoch from clock_timestamp()) * 1000000)::int8 + seconds * 1000000 $$;
create table test.message (claims text, expires int8, signature bytea);
create function test.make(claims text, seconds int) returns text language sql as $$
    delete from test.message;
    with e as materialized (select test.later(seconds) as at)
    insert into test.message select claims, at, test.sign(rowgate.claim_session(), claims, at) from e returning '' $$;
";

const SEE: &str = "select coalesce(rowgate.claim('tenant'), 'none')";

/// Gives the transaction the message that was made.
const GIVE: &str =
    "do $$ begin perform rowgate.set_claims(claims, expires, signature) from test.message; end $$";

/// The last line of a script, or the first line of its error.
fn end_of(database: &Database, script: &str) -> String {
    let script =
        format!("\\set ON_ERROR_STOP off\n\\set VERBOSITY sqlstate\n\\o /dev/null\n{script}");
    let guarded = script.replace("SEE", &format!("\\o\n{SEE}")).replace("GIVE", GIVE);
    database.postgres.psql(&guarded)
}

#[test]
fn a_signature_counts_for_its_session_its_claims_and_its_time() {
    let database = Database::new(&[]);
    database.postgres.psql(SIGN);
    let acme = r#"select test.make('{"tenant":"acme"}', 30);"#;
    let cases = [
        ("as it is meant", format!("{acme} begin; GIVE; SEE;"), "acme"),
        ("a second time in its time", format!("{acme} begin; GIVE; commit; begin; GIVE; SEE;"), "acme"),
        ("no transaction", format!("{acme} GIVE; SEE;"), "none"),
        ("behind its transaction", format!("{acme} begin; GIVE; commit; SEE;"), "none"),
        ("behind a rollback", format!("{acme} begin; GIVE; rollback; begin; SEE;"), "none"),
        ("rolled back to before", format!("{acme} begin; savepoint a; GIVE; rollback to a; SEE;"), "none"),
        ("kept over a savepoint", format!("{acme} begin; GIVE; savepoint a; rollback to a; SEE;"), "acme"),
        ("expired", format!("{} begin; GIVE; rollback; begin; SEE;", acme.replace("30", "-1")), "none"),
        (
            "its time changed",
            format!("{acme} update test.message set expires = expires + 1; begin; GIVE; rollback; SEE;"),
            "none",
        ),
        (
            "its claims changed",
            format!("{acme} update test.message set claims = '{{\"tenant\":\"beta\"}}'; begin; GIVE; rollback; SEE;"),
            "none",
        ),
        ("of another session", format!("{acme} \\c\n begin; GIVE; rollback; begin; SEE;"), "none"),
        (
            "its seal in the next transaction",
            format!("{acme} begin; GIVE; select set_config('test.seal', current_setting('rowgate.claims'), false); commit;
                begin; select set_config('rowgate.claims', current_setting('test.seal'), true); SEE;"),
            "none",
        ),
        (
            "its seal again in its transaction",
            format!("{acme} begin; GIVE; select set_config('test.seal', current_setting('rowgate.claims'), false);
                reset rowgate.claims; select set_config('rowgate.claims', current_setting('test.seal'), true); SEE;"),
            "acme",
        ),
        (
            "with its key removed",
            format!("{acme} begin; GIVE; delete from rowgate.claim_keys; SEE; rollback;"),
            "none",
        ),
        ("reading only", format!("{acme} begin read only; GIVE; SEE;"), "acme"),
        ("serializable", format!("{acme} begin isolation level serializable; GIVE; SEE;"), "acme"),
        ("as a role that may nothing", format!("{acme} begin; GIVE; set local role app; SEE;"), "acme"),
        ("in parallel", format!("{acme} begin; GIVE; set local force_parallel_mode = on; SEE;"), "acme"),
        (
            "in a function with another search path",
            format!("{acme} begin; GIVE; create function pg_temp.see() returns text language sql set search_path = test as $$ {SEE} $$; \\o\nselect pg_temp.see();"),
            "acme",
        ),
    ];
    for (case, script, expected) in cases {
        if case == "in parallel" && database.postgres.major() > 15 {
            continue;
        }
        assert_eq!(end_of(&database, &script), expected, "{case}");
    }
}

#[test]
fn whoever_may_read_or_write_all_tables_gets_no_key() {
    let database = Database::new(&[]);
    if database.postgres.major() < 14 {
        return;
    }
    database.postgres.psql("grant pg_read_all_data, pg_write_all_data to app");
    let as_app = |sql: &str| database.postgres.psql(&format!("set role app; {sql}"));
    assert_eq!(as_app("select count(*) from rowgate.claim_keys"), "0");
    assert_eq!(
        as_app("update rowgate.claim_keys set id = 'a'; delete from rowgate.claim_keys"),
        ""
    );
    let sql = "do $$ begin insert into rowgate.claim_keys values ('a', repeat('a', 64)::bytea, repeat('a', 64)::bytea);
        raise 'it was written'; exception when insufficient_privilege then null; end $$";
    as_app(sql);
    assert_eq!(
        database.postgres.psql("select count(*) from rowgate.claim_keys where id <> 'a'"),
        "1"
    );
}
