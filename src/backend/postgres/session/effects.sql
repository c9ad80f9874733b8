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
           p.oid operator(pg_catalog.<) 16384 and p.provolatile operator(pg_catalog.<>) 'v'
             -- Stable, and still they read what relation or type they are told.
             and p.proname operator(pg_catalog.!~) '^(table|schema|database)_to_xml' and p.proname operator(pg_catalog.!~) '^pg_input_'
           or p.oid operator(pg_catalog.<) 16384 and p.proname operator(pg_catalog.=) any ('{clock_timestamp, gen_random_uuid, pg_sleep, pg_sleep_for, pg_sleep_until, random, random_normal, timeofday, uuidv4, uuidv7}')
           or p.oid operator(pg_catalog.>=) 16384 and p.prolang operator(pg_catalog.=) 13 and p.provolatile operator(pg_catalog.<>) 'v' and p.prokind operator(pg_catalog.=) 'f'
             as computes,
           p.oid operator(pg_catalog.<) 16384 and p.proname operator(pg_catalog.=) any ('{nextval, pg_notify, pg_advisory_xact_lock, pg_advisory_xact_lock_shared, pg_try_advisory_xact_lock, pg_try_advisory_xact_lock_shared}')
             as writes_only,
           p.oid operator(pg_catalog.<) 16384 and p.proname operator(pg_catalog.=) 'nextval' as draws
    from pg_catalog.pg_proc as p
),
called as (
    select * from callable where proname operator(pg_catalog.=) any ($1)
    union
    select * from callable
    where proname operator(pg_catalog.=) any ($2) and pronargs operator(pg_catalog.-) pronargdefaults operator(pg_catalog.<=) 1 and not (oid operator(pg_catalog.<) 16384 and computes)
),
named as (
    select r.name, c.*
    from pg_catalog.unnest($3::pg_catalog.text[]) as r (name)
    left join pg_catalog.pg_class as c on c.oid operator(pg_catalog.=) pg_catalog.to_regclass(r.name)
),
-- All relations that a change of the named ones may reach: partitions and inheritors, what they
-- are part of, and what a foreign key's action changes.
reached as (
    select oid from named where $4 and oid is not null
    union
    select edge.target
    from reached as r
    join (
        select inhparent, inhrelid from pg_catalog.pg_inherits
        union all select inhrelid, inhparent from pg_catalog.pg_inherits
        union all select confrelid, conrelid from pg_catalog.pg_constraint
            where contype operator(pg_catalog.=) 'f' and (confdeltype operator(pg_catalog.=) any ('{c, n, d}') or confupdtype operator(pg_catalog.=) any ('{c, n, d}'))
    ) as edge (source, target) on edge.source operator(pg_catalog.=) r.oid
),
expressions as (
    select d.adbin::pg_catalog.text as tree from pg_catalog.pg_attrdef as d join reached as r on r.oid operator(pg_catalog.=) d.adrelid
    union all
    select k.conbin::pg_catalog.text from pg_catalog.pg_constraint as k join reached as r on r.oid operator(pg_catalog.=) k.conrelid
    where k.conbin is not null
    union all
    select tree from pg_catalog.pg_index as i join reached as r on r.oid operator(pg_catalog.=) i.indrelid
    cross join lateral (values (i.indexprs::pg_catalog.text), (i.indpred::pg_catalog.text)) as of_index (tree)
    where tree is not null
    union all
    select p.partexprs::pg_catalog.text from pg_catalog.pg_partitioned_table as p join reached as r on r.oid operator(pg_catalog.=) p.partrelid
    where p.partexprs is not null
),
set_off as (
    select c.* from expressions as e
    cross join lateral pg_catalog.regexp_matches(e.tree, ':funcid (\d+)', 'g') as f (id)
    join callable as c on c.oid operator(pg_catalog.=) f.id[1]::pg_catalog.oid
),
verdict as (
    select
        -- Operators, casts and operator classes are called without being named.
        not exists (select from pg_catalog.pg_operator as o join pg_catalog.pg_proc as p on p.oid operator(pg_catalog.=) o.oprcode
            where o.oid operator(pg_catalog.>=) 16384 and p.prolang operator(pg_catalog.<>) all ('{12, 13}'))
        and not exists (select from pg_catalog.pg_cast as c join pg_catalog.pg_proc as p on p.oid operator(pg_catalog.=) c.castfunc
            where c.oid operator(pg_catalog.>=) 16384 and p.prolang operator(pg_catalog.<>) all ('{12, 13}'))
        and not exists (select from pg_catalog.pg_amproc as a join pg_catalog.pg_proc as p on p.oid operator(pg_catalog.=) a.amproc::pg_catalog.oid
            where a.oid operator(pg_catalog.>=) 16384 and p.prolang operator(pg_catalog.<>) all ('{12, 13}'))
        -- A type's name may be called like a function.
        and not exists (select from pg_catalog.pg_type as t
            where t.oid operator(pg_catalog.>=) 16384 and t.typtype operator(pg_catalog.=) 'd' and (t.typname operator(pg_catalog.=) any ($1) or t.typname operator(pg_catalog.=) any ($2)))
        and not exists (select from named where oid is null or relrowsecurity)
            as plain,
        not exists (select from called where not computes) as computes,
        not exists (select from called where not computes and not writes_only) as leaves_nothing,
        not exists (select from named where not (relkind operator(pg_catalog.=) any ('{r, p, m}') or relkind operator(pg_catalog.=) 'v' and oid operator(pg_catalog.<) 16384))
            as reads_tables,
        not exists (select from reached as r join pg_catalog.pg_class as c on c.oid operator(pg_catalog.=) r.oid
            where c.oid operator(pg_catalog.<) 16384 or c.relkind operator(pg_catalog.<>) all ('{r, p}') or c.relhasrules or c.relrowsecurity)
        and not exists (select from reached as r join pg_catalog.pg_trigger as t on t.tgrelid operator(pg_catalog.=) r.oid
            where not t.tgisinternal)
        and not exists (select from expressions where tree operator(pg_catalog.~) 'COERCETODOMAIN')
        and not exists (select from set_off where not computes and not writes_only)
        and not exists (select from reached as r
            join pg_catalog.pg_attribute as a on a.attrelid operator(pg_catalog.=) r.oid and a.attnum operator(pg_catalog.>) 0 and not a.attisdropped
            join pg_catalog.pg_type as t on t.oid operator(pg_catalog.=) a.atttypid
            left join pg_catalog.pg_type as e on e.oid operator(pg_catalog.=) t.typelem and t.typlen operator(pg_catalog.=) -1
            where t.oid operator(pg_catalog.>=) 16384
              and (t.typtype operator(pg_catalog.<>) all ('{b, e}') or e.oid operator(pg_catalog.>=) 16384 and e.typtype operator(pg_catalog.<>) all ('{b, e}')))
            as changes_tables,
        exists (select from called where draws) or exists (select from set_off where draws)
        or exists (select from expressions where tree operator(pg_catalog.~) 'NEXTVALUEEXPR')
        or exists (select from reached as r join pg_catalog.pg_attribute as a on a.attrelid operator(pg_catalog.=) r.oid
            where a.attidentity operator(pg_catalog.<>) '')
            as draws
)
select plain and not $4 and computes and reads_tables as reads,
       plain and leaves_nothing and case when $4 then changes_tables else reads_tables end as traceless,
       draws as sequences
from verdict
