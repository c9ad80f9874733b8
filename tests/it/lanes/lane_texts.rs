//! Texts that look like short reads and are none, in every spelling: none of them shares a session.

use rowgate::value::Value;

use super::{POINT, demoted, on_lane, service};

/// Code that leaves a trace where the planner, a column, a policy or a type reaches it.
const REACHES: &str = "
    create extension if not exists hstore;
    create extension if not exists file_fdw;
    create extension if not exists dblink;
    create table traces (id int);
    create function mark(int) returns int language plpgsql immutable as
      $$ begin perform set_config('my.leak', 'x', false); return $1; end $$;
    create function marked(items) returns int language sql immutable as 'select mark(1)';
    create function total(int, int) returns int language sql immutable as 'select mark($1 + $2)';
    create aggregate marks(int) (sfunc = total, stype = int);
    create table indexed (id int);
    create index on indexed (mark(id));
    create table partly_indexed (id int);
    create index on partly_indexed (id) where mark(id) > 0;
    create table checked_rows (id int check (mark(id) > 0));
    create table computed (id int, twice int generated always as (mark(id)) stored);
    create table parted (id int) partition by list (mark(id));
    create table parted_1 partition of parted for values in (1);
    create table part_of (id int) partition by list (id);
    create table part_checked partition of part_of (check (mark(id) > 0)) for values in (1);
    create table ranged (id int) partition by range (id);
    create server files foreign data wrapper file_fdw;
    create foreign table ranged_1 partition of ranged for values from (1) to (9)
      server files options (filename '/dev/null');
    create foreign table remote (id int) server files options (filename '/dev/null');
    create table parent (id int);
    create foreign table child () inherits (parent) server files options (filename '/dev/null');
    create table guarded (id int);
    alter table guarded enable row level security;
    create policy own on guarded using (mark(id) > 0);
    create domain marked_int as int check (mark(value) > 0);
    create type marked_pair as (a marked_int, b int);
    create table holds (p marked_pair, d marked_int);
    create view marked_view as select mark(1) as id;
    insert into items values (0, 'zero');";

const TEXTS: &[&str] = &[
    "select * from indexed where mark(id) = 1",
    "select * from indexed where id = 1",
    "select * from partly_indexed where id = 1",
    "select * from checked_rows where id = 1",
    "select * from computed where id = 1",
    "select * from parted where id = 1",
    "select * from part_of where id = 1",
    "select * from only part_of",
    "select * from ranged where id = 1",
    "select * from remote",
    "select * from parent",
    "select * from parent *",
    "select * from guarded",
    "select * from holds where d = 1",
    "select i.marked from items i where id = 0",
    "select (i).marked from items i where id = 0",
    "select marked(i) from items i where id = 0",
    "select marks(id) from items",
    "select sum(id) over w from items window w as (order by mark(id))",
    "select * from marked_view",
    "table marked_view",
    "values (mark(1))",
    "(select mark(1))",
    "select 1 union all select mark(2)",
    "with x as materialized (select mark(1) as y) select y from x",
    "select * from lateral mark(1)",
    "select * from rows from (mark(1))",
    "select * from mark(1) with ordinality",
    "select case when true then mark(1) end",
    "select array(select mark(1))",
    "select exists (select from items where mark(id) = 0)",
    "select id from items order by mark(id) limit 1",
    "select id from items limit mark(1)",
    "select count(*) filter (where mark(id) = 0) from items",
    "select \"mark\"(1)",
    "select public.mark(1)",
    "select MARK(1)",
    "select U&\"mar\\006b\"(1)",
    "select mark/**/(1)",
    "select mark --\n (1)",
    "select 1::marked_int",
    "select cast(1 as marked_int)",
    "select marked_int '1'",
    "select marked_int(1)",
    "select '(1,2)'::marked_pair",
    "select array['1']::marked_int[]",
    "select * from json_to_record('{\"a\": 1}') as r (a marked_int)",
    "select json_populate_record(null::marked_pair, '{\"a\": 1}')",
    "select hstore('a', '1') -> 'a', populate_record(null::marked_pair, 'a=>1')",
    "select null::marked_pair #= 'a=>1'::hstore",
    "select pg_catalog.nextval('numbers')",
    "select \"nextval\"('numbers')",
    "select last_value from numbers",
    "select setval('numbers', 5)",
    "select lo_create(0) > 0",
    "select lo_from_bytea(0, 'x') > 0",
    "select pg_notify('x', 'y')",
    "select pg_try_advisory_xact_lock_shared(7)",
    "select txid_current() > 0",
    "select txid_current_if_assigned()",
    "select pg_current_snapshot()",
    "select txid_current_snapshot()",
    "select pg_export_snapshot()",
    "select dblink('dbname=postgres', 'select 1')",
    "select query_to_xml('select mark(1)', true, false, '')",
    "select table_to_xml('items', true, false, '')",
    "select * from ts_stat('select mark(1)::text::tsvector')",
    "select ts_rewrite('a'::tsquery, 'select ''a''::tsquery, ''b''::tsquery')",
    "select pg_read_file('PG_VERSION')",
    "select count(*) from pg_ls_dir('.')",
    "select pg_column_size(current_setting('search_path'))",
    "select current_schemas(true)",
    "select inet_client_port()",
    "select pg_my_temp_schema()",
    "select to_regclass('items')",
    "select version()",
    "select has_table_privilege('items', 'select')",
    "select pg_relation_size('items')",
    "select pg_get_viewdef('seen'::regclass)",
    "select to_tsvector('a b')",
    "select 'a b' @@ to_tsquery('a')",
    "select clock_timestamp() is null",
    "select gen_random_uuid() is null",
    "select 'today'::date",
    "select date 'tomorrow' is null",
    "select E'\\x6eow'::timestamptz is null",
    "select count(*) from pg_settings",
    "select count(*) from information_schema.tables",
    "select count(*) from pg_locks",
    "select count(*) from pg_catalog.pg_prepared_statements",
    "select operator(pg_catalog.-) 1",
    "select 1 operator(pg_catalog.+) 2",
    "select id from items where id = 0 for key share",
    "select id from items where id = 0 for no key update skip locked",
    "select id into temp kept from items where false",
    "with gone as (delete from traces returning id) select * from gone",
    "with m as (update items set name = name where id = 0 returning id) select id from m",
    "explain analyze select mark(1)",
    "explain (analyze) select 1",
    "prepare leaked as select 1",
    "execute leaked",
    "deallocate all",
    "declare leaked cursor for select 1",
    "set datestyle = 'German'",
    "set search_path = pg_temp, public",
    "set role postgres",
    "reset all",
    "discard all",
    "listen leaked",
    "unlisten *",
    "do $$ begin perform mark(1); end $$",
    "create temp table if not exists leaked (id int)",
    "select * from pg_temp.leaked",
    "copy items to stdout",
    "select 1; select mark(1)",
    "select xmlparse(document '<a/>')",
    "select current_setting('server_version') || ''",
];

/// Texts that do share one, so that the others are not kept off by what they have in common.
const SHARED: &[&str] = &[
    POINT,
    "select i.id, (i).name, i.\"name\" from only items as i where i.id = any (array[$1]::int[])",
    "with x as (select $1::int as y) select y, now() is null, current_user from x",
];

#[tokio::test]
async fn no_spelling_of_a_statement_that_reaches_code_shares_a_session() {
    let service = service("").await;
    service.postgres().psql(REACHES);
    for sql in SHARED {
        on_lane(&service, sql, &[Value::int64(1)]).await;
    }
    for sql in TEXTS {
        let before = service.pool().await;
        for _ in 0..5 {
            // Some are not accepted at all.
            service.client.query(sql, &[]).await.map(drop).unwrap_or_default();
        }
        let after = service.pool().await;
        assert_eq!(after.lane_statements, before.lane_statements, "{sql}");
        assert_eq!(demoted(&after), demoted(&before), "{sql} was tried on a lane");
    }
    for sql in SHARED {
        on_lane(&service, sql, &[Value::int64(1)]).await;
    }
}
