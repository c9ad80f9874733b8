-- What a statement can do beyond what its text says. One row:
--   reads      nothing it calls can write
--   traceless  nothing it calls or sets off can change its session
--   sequences  it draws from a sequence, which the session remembers for currval and lastval
-- $1 functions it may call, $2 columns after a point (t.f is f(t)), $3 relations as written,
-- $4 whether it changes data.
-- Objects below OID 16384 came with the server (transam.h, FirstNormalObjectId). Languages 12 and 13
-- are internal and C: a superuser's code. All else is somebody's SQL and may do anything.
with recursive
callable as not materialized (
    select p.oid, p.proname, p.pronargs, p.pronargdefaults,
           p.oid < 16384 and p.provolatile <> 'v'
             -- Stable, and still they read what relation or type they are told.
             and p.proname !~ '^(table|schema|database)_to_xml' and p.proname !~ '^pg_input_'
           or p.oid < 16384 and p.proname in ('clock_timestamp', 'gen_random_uuid', 'pg_sleep',
             'pg_sleep_for', 'pg_sleep_until', 'random', 'random_normal', 'timeofday', 'uuidv4', 'uuidv7')
           or p.oid >= 16384 and p.prolang = 13 and p.provolatile <> 'v' and p.prokind = 'f'
             as computes,
           p.oid < 16384 and p.proname in ('nextval', 'pg_notify', 'pg_advisory_xact_lock',
             'pg_advisory_xact_lock_shared', 'pg_try_advisory_xact_lock', 'pg_try_advisory_xact_lock_shared')
             as writes_only,
           p.oid < 16384 and p.proname = 'nextval' as draws
    from pg_catalog.pg_proc as p
),
called as (
    select * from callable where proname = any ($1)
    union
    select * from callable
    where proname = any ($2) and pronargs - pronargdefaults <= 1 and not (oid < 16384 and computes)
),
named as (
    select r.name, c.*
    from unnest($3::text[]) as r (name)
    left join pg_catalog.pg_class as c on c.oid = pg_catalog.to_regclass(r.name)
),
-- All relations that a change of the named ones may reach: partitions and inheritors, what they
-- are part of, and what a foreign key's action changes.
reached (oid) as (
    select oid from named where $4 and oid is not null
    union
    select edge.target
    from reached as r
    join (
        select inhparent, inhrelid from pg_catalog.pg_inherits
        union all select inhrelid, inhparent from pg_catalog.pg_inherits
        union all select confrelid, conrelid from pg_catalog.pg_constraint
            where contype = 'f' and (confdeltype in ('c', 'n', 'd') or confupdtype in ('c', 'n', 'd'))
    ) as edge (source, target) on edge.source = r.oid
),
expressions (tree) as (
    select d.adbin::text from pg_catalog.pg_attrdef as d join reached as r on r.oid = d.adrelid
    union all
    select k.conbin::text from pg_catalog.pg_constraint as k join reached as r on r.oid = k.conrelid
    where k.conbin is not null
    union all
    select tree from pg_catalog.pg_index as i join reached as r on r.oid = i.indrelid
    cross join lateral (values (i.indexprs::text), (i.indpred::text)) as of_index (tree)
    where tree is not null
    union all
    select p.partexprs::text from pg_catalog.pg_partitioned_table as p join reached as r on r.oid = p.partrelid
    where p.partexprs is not null
),
set_off as (
    select c.* from expressions as e
    cross join lateral pg_catalog.regexp_matches(e.tree, ':funcid (\d+)', 'g') as f (id)
    join callable as c on c.oid = f.id[1]::oid
),
verdict as (
    select
        -- Operators, casts and operator classes are called without being named.
        not exists (select from pg_catalog.pg_operator as o join pg_catalog.pg_proc as p on p.oid = o.oprcode
            where o.oid >= 16384 and p.prolang not in (12, 13))
        and not exists (select from pg_catalog.pg_cast as c join pg_catalog.pg_proc as p on p.oid = c.castfunc
            where c.oid >= 16384 and p.prolang not in (12, 13))
        and not exists (select from pg_catalog.pg_amproc as a join pg_catalog.pg_proc as p on p.oid = a.amproc::oid
            where a.oid >= 16384 and p.prolang not in (12, 13))
        -- A type's name may be called like a function.
        and not exists (select from pg_catalog.pg_type as t
            where t.oid >= 16384 and t.typtype = 'd' and (t.typname = any ($1) or t.typname = any ($2)))
        and not exists (select from named where oid is null or relrowsecurity)
            as plain,
        not exists (select from called where not computes) as computes,
        not exists (select from called where not computes and not writes_only) as leaves_nothing,
        not exists (select from named where not (relkind in ('r', 'p', 'm') or relkind = 'v' and oid < 16384))
            as reads_tables,
        not exists (select from reached as r join pg_catalog.pg_class as c on c.oid = r.oid
            where c.oid < 16384 or c.relkind not in ('r', 'p') or c.relhasrules or c.relrowsecurity)
        and not exists (select from reached as r join pg_catalog.pg_trigger as t on t.tgrelid = r.oid
            where not t.tgisinternal)
        and not exists (select from expressions where tree ~ 'COERCETODOMAIN')
        and not exists (select from set_off where not computes and not writes_only)
        and not exists (select from reached as r
            join pg_catalog.pg_attribute as a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
            join pg_catalog.pg_type as t on t.oid = a.atttypid
            left join pg_catalog.pg_type as e on e.oid = t.typelem and t.typlen = -1
            where t.oid >= 16384
              and (t.typtype not in ('b', 'e') or e.oid >= 16384 and e.typtype not in ('b', 'e')))
            as changes_tables,
        exists (select from called where draws) or exists (select from set_off where draws)
        or exists (select from expressions where tree ~ 'NEXTVALUEEXPR')
        or exists (select from reached as r join pg_catalog.pg_attribute as a on a.attrelid = r.oid
            where a.attidentity <> '')
            as draws
)
select plain and not $4 and computes and reads_tables as reads,
       plain and leaves_nothing and case when $4 then changes_tables else reads_tables end as traceless,
       draws as sequences
from verdict
