-- What a statement can do beyond what its text says. One row:
--   reads      nothing but built-in code that reads can run
--   traceless  nothing can run that changes its session
--   sequences  it draws from a sequence, which the session remembers for currval and lastval
--   shares     it reads, and nothing that it calls depends on the session: it may share one with others
-- $1 functions it may call, $2 columns after a point (t.f is f(t)), $3 relations as written,
-- $4 whether it changes data.
--
-- The rule is closed: whatever is not known to be harmless may do anything. Objects below OID 16384 came
-- with the server (transam.h, FirstNormalObjectId); languages 12, 13 and 14 are internal, C and SQL. All names are
-- qualified: the caller's search path is in force.
with recursive
-- Extensions whose C functions are known to compute, and to run nobody's code.
trusted as (
    select d.classid as class, d.objid as id
    from pg_catalog.pg_depend as d
    join pg_catalog.pg_extension as e on e.oid operator(pg_catalog.=) d.refobjid
    where d.deptype operator(pg_catalog.=) 'e'
      and d.refclassid operator(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
      and e.extname operator(pg_catalog.=) any ('{btree_gin, btree_gist, citext, cube, fuzzystrmatch, hstore,
          intarray, isn, ltree, pg_trgm, pgcrypto, seg, unaccent, vector}')
),
callable as not materialized (
    select p.oid, p.proname, p.pronargs, p.pronargdefaults,
           (p.provolatile operator(pg_catalog.<>) 'v' or p.oid operator(pg_catalog.<) 16384
             and p.proname operator(pg_catalog.=) any ('{clock_timestamp, gen_random_uuid, pg_sleep,
                 pg_sleep_for, pg_sleep_until, random, random_normal, timeofday, uuidv4, uuidv7}'))
           -- The built-in functions of versions 13 to 18 were read; a superuser may have replaced one.
           and (p.oid operator(pg_catalog.<) 16384 and p.prolang operator(pg_catalog.=) any ('{12, 14}')
               and pg_catalog.current_setting('server_version_num') operator(pg_catalog.~) '^1[3-8]....$'
             or p.prolang operator(pg_catalog.=) any ('{12, 13}') and p.prokind operator(pg_catalog.=) 'f'
             and exists (select from trusted
                 where class operator(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
                   and id operator(pg_catalog.=) p.oid))
           -- The input and output of types, cstring and internal, reach the checks of domains. So do
           -- functions that fill a record. Others run the query, relation or type that they are told,
           -- assign a transaction number, or set something.
           and not p.proargtypes::pg_catalog.oid[] operator(pg_catalog.&&) '{2275, 2281}'::pg_catalog.oid[]
           and p.proname operator(pg_catalog.!~) '_to_xml|_validator$|^pg_input_|^jsonb?_(populate|to)_record'
           and p.proname operator(pg_catalog.<>) all ('{populate_record, txid_current, pg_current_xact_id,
               isn_weak, set_limit}')
             as computes,
           p.provolatile operator(pg_catalog.=) 'i' or p.proname operator(pg_catalog.=) any ('{age, array_agg,
               array_to_json, array_to_string, concat, concat_ws, count, date_part, date_trunc, extract, format, generate_series,
               json_agg, json_build_array, json_build_object, json_object_agg, jsonb_agg, jsonb_build_array,
               jsonb_build_object, jsonb_object_agg, make_timestamptz, now, row_to_json, string_agg, timezone,
               to_char, to_date, to_json, to_jsonb, to_number, to_timestamp, transaction_timestamp}')
             as is_independent,
           p.oid operator(pg_catalog.<) 16384 and p.proname operator(pg_catalog.=) any ('{nextval, pg_notify,
               pg_advisory_xact_lock, pg_advisory_xact_lock_shared, pg_try_advisory_xact_lock,
               pg_try_advisory_xact_lock_shared}')
             as writes_only,
           p.oid operator(pg_catalog.<) 16384 and p.proname operator(pg_catalog.=) 'nextval' as draws,
           -- Before version 14 its body names operators that are looked up when it is called.
           p.prolang operator(pg_catalog.=) 14 as is_sql
    from pg_catalog.pg_proc as p
),
called as (
    select * from callable where proname operator(pg_catalog.=) any ($1)
    union
    select * from callable
    where proname operator(pg_catalog.=) any ($2)
      and pronargs operator(pg_catalog.>=) 1
      and pronargs operator(pg_catalog.-) pronargdefaults operator(pg_catalog.<=) 1
      and not (oid operator(pg_catalog.<) 16384 and computes)
),
-- The checks and defaults of domains.
domain_code as (
    select k.contypid as id, k.conbin::pg_catalog.text as tree from pg_catalog.pg_constraint as k
    where k.contypid operator(pg_catalog.>=) 16384
    union all
    select t.oid, t.typdefaultbin::pg_catalog.text from pg_catalog.pg_type as t
    where t.oid operator(pg_catalog.>=) 16384 and t.typtype operator(pg_catalog.=) 'd'
),
-- Types whose values may run somebody's code when they are read in or cast to: domains that call it, ranges
-- with functions of their own, and whatever contains one of these. For base types see unnamed.
odd as (
    select t.oid from pg_catalog.pg_type as t
    left join pg_catalog.pg_range as r on r.rngtypid operator(pg_catalog.=) t.oid
    where t.oid operator(pg_catalog.>=) 16384
      and (t.typtype operator(pg_catalog.<>) all ('{b, c, d, e, r, m}')
        or r.rngcanonical::pg_catalog.oid operator(pg_catalog.>=) 16384
        or r.rngsubdiff::pg_catalog.oid operator(pg_catalog.>=) 16384)
    union
    select d.id from domain_code as d
    where exists (select from pg_catalog.regexp_matches(d.tree,
            ':(funcid|opfuncid|opno|resulttype|typid) (\d+)', 'g') as f (part)
        left join pg_catalog.pg_operator as o on f.part[1] operator(pg_catalog.=) 'opno'
          and o.oid operator(pg_catalog.=) f.part[2]::pg_catalog.oid
        left join callable as c on c.computes and c.oid operator(pg_catalog.=)
          case when f.part[1] operator(pg_catalog.=) 'opno' then o.oprcode::pg_catalog.oid else f.part[2]::pg_catalog.oid end
        where case when f.part[1] operator(pg_catalog.=) any ('{resulttype, typid}')
          then f.part[2]::pg_catalog.oid operator(pg_catalog.>=) 16384
          else c.oid is null or c.is_sql or o.oid operator(pg_catalog.>=) 16384 and not exists (
            select from trusted where class operator(pg_catalog.=) 'pg_catalog.pg_operator'::pg_catalog.regclass
              and id operator(pg_catalog.=) o.oid) end)
    union
    select holder.holder from odd as o
    join (
        select t.typelem, t.oid from pg_catalog.pg_type as t
        union all
        select t.typbasetype, t.oid from pg_catalog.pg_type as t
        union all
        select r.rngsubtype, r.rngtypid from pg_catalog.pg_range as r
        union all
        -- Before version 14 there is no such column.
        select r.rngtypid, (pg_catalog.to_jsonb(r) operator(pg_catalog.->>) 'rngmultitypid')::pg_catalog.oid
        from pg_catalog.pg_range as r
        union all
        select a.atttypid, c.reltype from pg_catalog.pg_class as c
        join pg_catalog.pg_attribute as a on a.attrelid operator(pg_catalog.=) c.oid
        where a.attnum operator(pg_catalog.>) 0
    ) as holder (held, holder) on holder.held operator(pg_catalog.=) o.oid
    where holder.holder operator(pg_catalog.<>) 0
),
named as (
    select r.name, c.*
    from pg_catalog.unnest($3::pg_catalog.text[]) as r (name)
    left join pg_catalog.pg_class as c on c.oid operator(pg_catalog.=) pg_catalog.to_regclass(r.name)
),
-- All relations that a change of the named ones may change: partitions and inheritors, what they
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
            where contype operator(pg_catalog.=) 'f'
              and (confdeltype operator(pg_catalog.=) any ('{c, n, d}')
                or confupdtype operator(pg_catalog.=) any ('{c, n, d}'))
    ) as edge (source, target) on edge.source operator(pg_catalog.=) r.oid
),
-- All relations that are planned for: also the other ends of foreign keys, which are looked up in, and
-- the partitions and inheritors of all.
planned as (
    select start.oid from (
        select oid from named where oid is not null
        union all
        select oid from reached
        union all
        select k.confrelid from pg_catalog.pg_constraint as k join reached as r on r.oid operator(pg_catalog.=) k.conrelid
        where k.contype operator(pg_catalog.=) 'f'
        union all
        select k.conrelid from pg_catalog.pg_constraint as k join reached as r on r.oid operator(pg_catalog.=) k.confrelid
        where k.contype operator(pg_catalog.=) 'f'
    ) as start
    union
    select i.inhrelid from planned as p
    join pg_catalog.pg_inherits as i on i.inhparent operator(pg_catalog.=) p.oid
),
-- The planner evaluates what is immutable in indexes, statistics, partition keys, checks and generated
-- columns, also of what is only read.
expressions as (
    select k.conbin::pg_catalog.text as tree from pg_catalog.pg_constraint as k
    join planned as p on p.oid operator(pg_catalog.=) k.conrelid
    union all
    select i.indexprs::pg_catalog.text from pg_catalog.pg_index as i
    join planned as p on p.oid operator(pg_catalog.=) i.indrelid
    union all
    select i.indpred::pg_catalog.text from pg_catalog.pg_index as i
    join planned as p on p.oid operator(pg_catalog.=) i.indrelid
    union all
    select t.partexprs::pg_catalog.text from pg_catalog.pg_partitioned_table as t
    join planned as p on p.oid operator(pg_catalog.=) t.partrelid
    union all
    select c.relpartbound::pg_catalog.text from pg_catalog.pg_class as c
    join planned as p on p.oid operator(pg_catalog.=) c.oid
    union all
    -- Before version 14 there is no such column.
    select pg_catalog.to_jsonb(s) operator(pg_catalog.->>) 'stxexprs' from pg_catalog.pg_statistic_ext as s
    join planned as p on p.oid operator(pg_catalog.=) s.stxrelid
    union all
    select d.adbin::pg_catalog.text from pg_catalog.pg_attrdef as d
    join pg_catalog.pg_attribute as a on a.attrelid operator(pg_catalog.=) d.adrelid
      and a.attnum operator(pg_catalog.=) d.adnum
    join planned as p on p.oid operator(pg_catalog.=) d.adrelid
    where a.attgenerated operator(pg_catalog.<>) ''
      or exists (select from reached as r where r.oid operator(pg_catalog.=) p.oid)
),
-- In one row, so that the planner expects few parts and compiles nothing (JIT).
forest as (
    select pg_catalog.string_agg(tree, ' ') as tree from expressions
),
parts as (
    select f.part[1] as kind, f.part[2]::pg_catalog.oid as id from forest
    cross join lateral pg_catalog.regexp_matches(tree,
        ':(funcid|opfuncid|opno|aggfnoid|winfnoid|resulttype|typid) (\d+)', 'g') as f (part)
),
set_off as (
    select c.* from parts as p
    left join pg_catalog.pg_operator as o on p.kind operator(pg_catalog.=) 'opno'
      and o.oid operator(pg_catalog.=) p.id
    join callable as c on c.oid operator(pg_catalog.=)
      case when p.kind operator(pg_catalog.=) 'opno' then o.oprcode::pg_catalog.oid else p.id end
    where p.kind operator(pg_catalog.<>) all ('{resulttype, typid}')
),
-- Code that is called without being named: operators, casts, classes of operators and methods of access.
-- It may be built-in code, and still write: an operator over nextval, a cast over pg_notify.
unnamed as (
    select 'pg_catalog.pg_operator'::pg_catalog.regclass::pg_catalog.oid as class, o.oid as id,
        o.oprcode::pg_catalog.oid as code
    from pg_catalog.pg_operator as o
    where o.oid operator(pg_catalog.>=) 16384
      -- A text whose operators have other names than built-in ones is not judged at all. Beside texts reach it:
      -- families of operators, operators that it negates or commutes, and functions in SQL.
      and (exists (select from pg_catalog.pg_operator as b
          where b.oid operator(pg_catalog.<) 16384 and b.oprname operator(pg_catalog.=) o.oprname)
        or exists (select from pg_catalog.pg_amop as a where a.amopopr operator(pg_catalog.=) o.oid)
        or exists (select from pg_catalog.pg_operator as l
          left join trusted as t on t.class operator(pg_catalog.=) 'pg_catalog.pg_operator'::pg_catalog.regclass
            and t.id operator(pg_catalog.=) l.oid
          where (l.oprcom operator(pg_catalog.=) o.oid or l.oprnegate operator(pg_catalog.=) o.oid)
            and l.oid operator(pg_catalog.<>) o.oid
            and (l.oid operator(pg_catalog.<) 16384 or t.id is not null))
        or exists (select from called where is_sql)
        or exists (select from set_off where is_sql))
    union all
    select 'pg_catalog.pg_cast'::pg_catalog.regclass, c.oid, c.castfunc from pg_catalog.pg_cast as c
    where c.oid operator(pg_catalog.>=) 16384
      and (c.castmethod operator(pg_catalog.=) 'f'
        or exists (select from odd where odd.oid operator(pg_catalog.=) c.casttarget))
      -- The cast of a new range to its multirange comes with them, and is internal code.
      and not exists (select from pg_catalog.pg_proc as p where p.oid operator(pg_catalog.=) c.castfunc
        and p.oid operator(pg_catalog.>=) 16384 and p.prolang operator(pg_catalog.=) 12)
    union all
    select 'pg_catalog.pg_opclass'::pg_catalog.regclass, c.oid, 0 from pg_catalog.pg_opclass as c
    where c.oid operator(pg_catalog.>=) 16384
    union all
    select 'pg_catalog.pg_am'::pg_catalog.regclass, m.oid, 0 from pg_catalog.pg_am as m
    where m.oid operator(pg_catalog.>=) 16384
    union all
    select 'pg_catalog.pg_ts_template'::pg_catalog.regclass, t.oid, 0 from pg_catalog.pg_ts_template as t
    where t.oid operator(pg_catalog.>=) 16384
    union all
    select 'pg_catalog.pg_ts_parser'::pg_catalog.regclass, t.oid, 0 from pg_catalog.pg_ts_parser as t
    where t.oid operator(pg_catalog.>=) 16384
    union all
    select 'pg_catalog.pg_proc'::pg_catalog.regclass, a.amproc::pg_catalog.oid, 0 from pg_catalog.pg_amproc as a
    join pg_catalog.pg_proc as p on p.oid operator(pg_catalog.=) a.amproc
    where a.oid operator(pg_catalog.>=) 16384
      and (p.oid operator(pg_catalog.>=) 16384 or p.provolatile operator(pg_catalog.=) 'v')
    union all
    -- Every message and many functions convert between encodings.
    select 'pg_catalog.pg_conversion'::pg_catalog.regclass, c.oid, c.conproc::pg_catalog.oid
    from pg_catalog.pg_conversion as c
    where c.conproc::pg_catalog.oid operator(pg_catalog.>=) 16384
    union all
    -- Also what reads a name may call the functions of a base type: to_regtype those of its modifiers.
    select 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, t.typinput::pg_catalog.oid
    from pg_catalog.pg_type as t
    where t.oid operator(pg_catalog.>=) 16384 and t.typtype operator(pg_catalog.=) 'b'
      and t.typinput operator(pg_catalog.<>) 'pg_catalog.array_in'::pg_catalog.regproc
),
-- The code of operators of trusted extensions is not theirs where somebody added it to the extension.
suspects as (
    select from unnamed as u
    where not exists (select from trusted as t
        where t.class operator(pg_catalog.=) u.class and t.id operator(pg_catalog.=) u.id)
      or u.code operator(pg_catalog.>=) 16384 and not exists (select from pg_catalog.pg_proc as p
        join trusted as t on t.class operator(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
          and t.id operator(pg_catalog.=) p.oid
        where p.oid operator(pg_catalog.=) u.code and p.prolang operator(pg_catalog.=) any ('{12, 13}'))
),
verdict as (
    select
        not exists (select from suspects)
        -- A name that is no function's may be a cast, written as a call.
        and not exists (select from pg_catalog.unnest($1) as f (name)
            where not exists (select from callable where proname operator(pg_catalog.=) name))
        and not exists (select from pg_catalog.pg_type as t
            join odd as o on o.oid operator(pg_catalog.=) t.oid
            where t.typname operator(pg_catalog.=) any ($1) or t.typname operator(pg_catalog.=) any ($2)
              -- A type in the text is a built-in one by its name, which the search path may give to another.
              or exists (select from pg_catalog.pg_type as b
                where b.typnamespace operator(pg_catalog.=) 'pg_catalog'::pg_catalog.regnamespace
                  and b.typname operator(pg_catalog.=) t.typname))
        and not exists (select from named where oid is null)
        and not exists (select from planned as p
            join pg_catalog.pg_class as c on c.oid operator(pg_catalog.=) p.oid
            where c.relrowsecurity or c.relkind operator(pg_catalog.=) 'f')
        and not exists (select from set_off where not computes and not (writes_only and $4))
        and not exists (select from parts as p join odd as o on o.oid operator(pg_catalog.=) p.id
            where p.kind operator(pg_catalog.=) any ('{resulttype, typid}'))
        and not exists (select from parts as p
            where p.kind operator(pg_catalog.=) 'opno' and p.id operator(pg_catalog.>=) 16384
              and not exists (select from trusted as t
                where t.class operator(pg_catalog.=) 'pg_catalog.pg_operator'::pg_catalog.regclass
                  and t.id operator(pg_catalog.=) p.id))
        -- A literal beside such a column is read in as its type: lag(c, 1, '5').
        and not exists (select from planned as p
            join pg_catalog.pg_attribute as a on a.attrelid operator(pg_catalog.=) p.oid
              and a.attnum operator(pg_catalog.>) 0 and not a.attisdropped
            join odd as o on o.oid operator(pg_catalog.=) a.atttypid)
            as plain,
        not exists (select from called where not computes) as computes,
        not exists (select from called where not computes and not writes_only) as leaves_nothing,
        not exists (select from named
            where not (relkind operator(pg_catalog.=) any ('{r, p, m}')
              or relkind operator(pg_catalog.=) 'v' and oid operator(pg_catalog.<) 16384))
            as reads_tables,
        not exists (select from reached as r join pg_catalog.pg_class as c on c.oid operator(pg_catalog.=) r.oid
            where c.oid operator(pg_catalog.<) 16384 or c.relkind operator(pg_catalog.<>) all ('{r, p}')
              or c.relhasrules)
        and not exists (select from reached as r
            join pg_catalog.pg_trigger as t on t.tgrelid operator(pg_catalog.=) r.oid where not t.tgisinternal)
            as changes_tables,
        not exists (select from called where not is_independent)
        and not exists (select from named where relkind operator(pg_catalog.=) 'v' or oid operator(pg_catalog.<) 16384)
            as independent,
        exists (select from called where draws) or exists (select from set_off where draws)
        or exists (select from forest where tree operator(pg_catalog.~) 'NEXTVALUEEXPR')
        or exists (select from reached as r
            join pg_catalog.pg_attribute as a on a.attrelid operator(pg_catalog.=) r.oid
            where a.attidentity operator(pg_catalog.<>) '')
            as draws
)
select plain and not $4 and computes and reads_tables as reads,
       plain and leaves_nothing and case when $4 then changes_tables else reads_tables end as traceless,
       draws as sequences,
       plain and not $4 and computes and reads_tables and independent as shares
from verdict
