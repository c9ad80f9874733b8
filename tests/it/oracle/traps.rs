//! Schemas whose code marks its session: each reaches the marking function in another way.

/// One way to reach somebody's code, without naming the function that marks.
pub(super) struct Trap {
    pub(super) name: &'static str,
    pub(super) setup: &'static str,
    /// Statements that reach it, or may. Several, separated by `;;`, are one unit.
    pub(super) calls: &'static [&'static str],
}

/// The code that marks: it changes a setting, takes a lock, and writes a row where it may.
pub(super) const MARKING: &str = "
    create table written (what text);
    create table plain (id int primary key, name text);
    insert into plain select n, 'p' || n from generate_series(1, 9) as n;
    create function leave(what text) returns boolean language plpgsql volatile as $$
      begin
        perform set_config('my.leak', what, false), pg_advisory_lock(4711);
        begin insert into public.written values (what); exception when others then null; end;
        return true;
      end $$;
    create function number(n int, what text) returns int language plpgsql immutable as
      $$ begin perform public.leave(what); return n; end $$;
    create function fixed(n int) returns int language plpgsql immutable as
      $$ begin perform public.leave('fixed'); return n; end $$;
    create function on_change() returns trigger language plpgsql as
      $$ begin perform public.leave('trigger'); return coalesce(new, old); end $$;";

/// Statements that reach no code of anybody's: a session stays as it is, and some are reads.
pub(super) const PLAIN: &[&str] = &[
    "select 1",
    "select name from plain where id = 3",
    "select count(*), max(lower(name)) from plain",
    "update plain set name = upper(name) where id = 4",
    "insert into plain values (1, 'x') on conflict (id) do update set name = excluded.name",
];

pub(super) const TRAPS: &[Trap] = &[
    Trap {
        name: "a name that PostgreSQL truncates",
        setup: "create function f23456789_123456789_123456789_123456789_123456789_123456789_xyz_cut_off(int)
                returns int language sql stable as 'select number($1, ''long'')';",
        calls: &["select f23456789_123456789_123456789_123456789_123456789_123456789_xyz_cut_off(1)"],
    },
    Trap {
        name: "an operator without a table",
        setup: "create function plus(text, text) returns text language sql as
                  $$ select leave('operator')::text $$;
                create operator + (leftarg = text, rightarg = text, function = plus);",
        calls: &["select 'a'::text + 'b'::text", "values ('a'::text + 'b'::text)"],
    },
    Trap {
        name: "an operator over a built-in function that writes",
        setup: "create sequence drawn; create operator @@@ (rightarg = regclass, function = nextval);",
        calls: &["select @@@ 'drawn'::regclass", "select @@@ '16384'::regclass"],
    },
    Trap {
        name: "a cast",
        setup: "create type pair as (a int); create table pairs (p pair); create table texts (t text);
                insert into pairs values (row(1));
                create function pair_text(pair) returns text language sql as $$ select leave('cast')::text $$;
                create cast (pair as text) with function pair_text(pair) as assignment;",
        calls: &[
            "select p::text from pairs",
            "insert into texts select p from pairs",
            "select cast(p as text) from pairs",
        ],
    },
    Trap {
        name: "a cast through input and output",
        setup: "create domain checked_text as text check (leave('inout'));
                create type holder as (t checked_text);
                create cast (text as holder) with inout as implicit;
                create table held (h holder);",
        calls: &["insert into held select '(x)'::text", "select (h).t from held"],
    },
    Trap {
        name: "a domain, alone and inside other types",
        setup: "create domain even as int check (fixed(value) % 2 = 0);
                create type part as (e even); create type whole as (p part);
                create type evens as range (subtype = even);
                create table domained (id int, e even, a even[], p part);
                insert into domained values (1, 2, '{2}', '(2)');",
        calls: &[
            "select 2::even",
            "select even(2)",
            "select '{2,4}'::even[]",
            "select '(2)'::part",
            "select '(\"(2)\")'::whole",
            "select '[2,4]'::evens",
            "select json_populate_record(null::part, '{\"e\": 2}')",
            "select jsonb_populate_record(domained, '{\"e\": 4}') from domained",
            "select json_populate_recordset(domained, '[{\"e\": 4}]') from domained",
            "select * from json_to_record('{\"x\": 2}') as r (x even)",
            "select * from jsonb_to_recordset('[{\"x\": 2}]') as r (x even)",
            "insert into domained (id, e) values (2, 4)",
            "update domained set a = array[2, 4]",
            "insert into domained (a) values ($1)",
            "update domained set p.e = 6",
            "select array_in('{2}', 'even'::regtype, -1)",
        ],
    },
    Trap {
        name: "an index predicate that planning folds",
        setup: "create table predicated (id int); insert into predicated values (1);
                create index on predicated (id) where fixed(7) > 0;",
        calls: &[
            "select * from predicated where id = 1",
            "select count(*) from predicated",
            "update predicated set id = 2 where id = 1",
            "delete from predicated where id = 99",
        ],
    },
    Trap {
        name: "an index expression that planning folds",
        setup: "create table indexed (id int); insert into indexed values (1);
                create index on indexed ((id + fixed(7)));",
        calls: &["select * from indexed where id = 1", "insert into indexed values (5)"],
    },
    Trap {
        name: "extended statistics",
        setup: "create table counted (id int, n int); insert into counted select 1, 2;
                -- PostgreSQL 13 has no statistics on expressions.
                do $$ begin create statistics counted_statistics on (id + fixed(7)), (n + 1) from counted;
                exception when feature_not_supported then create index on counted ((id + fixed(7))); end $$;
                analyze counted;",
        calls: &["select * from counted where id = 1 and n = 2", "select n, count(*) from counted group by n"],
    },
    Trap {
        name: "a partition key",
        setup: "create table parted (id int, n int) partition by range ((id + fixed(7)));
                create table parted_1 partition of parted for values from (0) to (1000);
                insert into parted values (1, 1);",
        calls: &[
            "select * from parted where id = 1",
            "insert into parted values (2, 2)",
            "update parted set n = 3 where id = 1",
        ],
    },
    Trap {
        name: "a check constraint of a child",
        setup: "create table ancestor (id int); create table descendant (check (id + fixed(7) > 0)) inherits (ancestor);
                insert into descendant values (1);",
        calls: &[
            "select * from ancestor where id = 1",
            "select * from descendant where id = 1",
            "insert into descendant values (2)",
            "update ancestor set id = 3",
        ],
    },
    Trap {
        name: "triggers, also behind foreign keys and partitions",
        setup: "create table father (id int primary key); create table son (id int references father on delete cascade);
                create trigger t before insert or delete on son for each row execute function on_change();
                create table shared (id int) partition by list (id); create table shared_1 partition of shared for values in (1);
                create trigger t after insert on shared_1 for each row execute function on_change();
                create view through as select * from son;
                create trigger t instead of insert on through for each row execute function on_change();
                create table stated (id int);
                create trigger t after update on stated for each statement execute function on_change();",
        calls: &[
            "insert into father values (1) on conflict do nothing",
            "insert into son values (1)",
            "delete from father where id = 1",
            "insert into shared values (1)",
            "insert into through values (1)",
            "update stated set id = 1",
            "with i as (insert into shared values (1) returning id) select * from i",
            "merge into son using (values (1)) as v (id) on son.id = v.id when matched then delete",
        ],
    },
    Trap {
        name: "views, rules, defaults, generated columns",
        setup: "create view seen as select leave('view') as x;
                create view over as select * from seen;
                create materialized view kept as select 1 as x;
                create table ruled (id int); create rule r as on insert to ruled do also select leave('rule');
                create table defaulted (id int, x boolean default leave('default'));
                create table generated (id int, x int generated always as (fixed(id)) stored);",
        calls: &[
            "select * from seen",
            "table over",
            "select x from kept",
            "insert into ruled values (1)",
            "insert into defaulted (id) values (1)",
            "insert into generated (id) values (1)",
        ],
    },
    Trap {
        name: "row security",
        setup: "create table secured (id int); insert into secured values (1);
                alter table secured enable row level security; alter table secured force row level security;
                create policy p on secured using (leave('policy'));",
        calls: &["select * from secured", "update secured set id = 2"],
    },
    Trap {
        name: "functions that run SQL they are told",
        setup: "create extension tablefunc; create extension xml2;
                create table tree (id int, parent int, at text); insert into tree values (1, null, 'x');",
        calls: &[
            "select * from crosstab('select 1, 2, leave(''crosstab'')::text') as r (a int, b text)",
            "select * from connectby('(select 1 as id, 2 as parent, leave(''c'')) as t', 'id', 'parent', '1', 0) as r (id int, parent int, level int)",
            "select * from xpath_table('id', 'at', 'tree', '/', 'leave(''xpath'')') as r (id int)",
            "select query_to_xml('select leave(''xml'')', true, true, '')",
            "select * from ts_stat('select leave(''stat'')::text::tsvector')",
            "select ts_rewrite('a'::tsquery, 'select ''a''::tsquery, (leave(''rewrite'')::text)::tsquery')",
        ],
    },
    Trap {
        name: "overloads of built-in names, aggregates, notation of attributes",
        setup: "create function lower(int) returns int language sql stable as $$ select number($1, 'overload') $$;
                create function step(int, int) returns int language sql immutable as $$ select number($1, 'aggregate') $$;
                create aggregate total(int) (sfunc = step, stype = int, initcond = '0');
                create function of_row(plain) returns int language sql stable as $$ select number(1, 'attribute') $$;",
        calls: &[
            "select lower(1)",
            "select total(id) from plain",
            "select p.of_row from plain as p",
            "select total(id) over (order by id) from plain",
            "select * from plain limit lower(1)",
            "select * from rows from (lower(1), generate_series(1, 2)) as r",
        ],
    },
    Trap {
        name: "functions of a range and of an operator class",
        setup: "create function difference(float8, float8) returns float8 language sql immutable as
                  $$ select number(1, 'difference')::float8 $$;
                create type spans as range (subtype = float8, subtype_diff = difference);
                create table spanned (s spans); create index on spanned using gist (s);
                create function compare(int, int) returns int language sql immutable as
                  $$ select number(btint4cmp($1, $2), 'compare') $$;
                create operator class own_order for type int using btree as operator 1 <, operator 2 <=,
                  operator 3 =, operator 4 >=, operator 5 >, function 1 compare(int, int);
                create table ordered (id int); create index on ordered (id own_order);
                insert into ordered values (1), (2), (3);",
        calls: &[
            "insert into spanned select spans(n, n + 1) from generate_series(1, 300) as n",
            "insert into ordered values (4)",
            "select * from ordered where id = 2",
        ],
    },
    Trap {
        name: "other meanings of names in one unit",
        setup: "create schema other; create view other.plain as select leave('shadow') as id;
                create function other.upper(text) returns text language sql as $$ select leave('upper')::text $$;",
        calls: &[
            "select * from plain;;set local search_path = other, public;;select * from plain",
            "create temp view plain as select leave('temporary') as id;;select * from plain",
            "select set_config('search_path', 'other', true);;table plain",
            "set local search_path = other, pg_catalog;;select upper('x')",
        ],
    },
    Trap {
        name: "definitions that pass through the gateway",
        setup: "create table changing (id int);",
        calls: &[
            "insert into changing values (1)",
            "create or replace trigger t before insert on changing for each row execute function on_change()",
            "drop trigger if exists t on changing",
            "do $$ begin create or replace trigger t before insert on public.changing
               for each row execute function public.on_change(); end $$",
        ],
    },
    Trap {
        name: "the table of idempotency keys",
        setup: "create trigger t before insert on rowgate_idempotency for each row execute function on_change();",
        calls: &["select 1 as one", "select name from plain where id = 2"],
    },
    Trap {
        name: "blocks and procedures",
        setup: "create procedure committing() language plpgsql as $$ begin perform leave('procedure'); commit; end $$;",
        calls: &[
            "call committing()",
            "do $$ begin perform public.leave('do'); end $$",
            "explain analyze select leave('explain')",
            "select leave('plain')",
        ],
    },
    Trap {
        name: "built-in functions that assign a transaction or take a role in replication",
        setup: "",
        calls: &[
            "select txid_current()",
            "select pg_current_xact_id()",
            "select pg_notify('c', 'x')",
            "select lo_create(0)",
            "select nextval('pg_catalog.pg_class'::regclass)",
            "select set_config('my.leak', '', true)",
        ],
    },
];
