-- The origins of columns, each asked for as (OID of the table, number of the column). One row for each that exists:
-- both numbers, schema, table, column, and whether it is NOT NULL; NULL where that is not known.
--
-- The rule is closed. A table is known with all of its partitions, which must be ordinary tables with a valid
-- constraint of their own; not known are views, foreign tables, parents of other tables, tables with rules, system
-- columns, columns that are computed when they are read, and the catalogs (below OID 16384), which the server writes unchecked.
-- All names are qualified: the caller's search path is in force.
select wanted.relation, wanted.number, s.nspname, c.relname, a.attname,
    case
        when c.oid operator(pg_catalog.<) 16384 or a.attnum operator(pg_catalog.<=) 0
            or a.attgenerated operator(pg_catalog.=) 'v'
            or c.relkind::pg_catalog.text operator(pg_catalog.<>) all ('{r, p}') then null
        -- Of a domain that is NOT NULL itself, perhaps.
        when not a.attnotnull and ty.typtype operator(pg_catalog.=) 'd' then null
        when not a.attnotnull then false
        when c.relhasrules
            or c.relkind operator(pg_catalog.=) 'r' and c.relhassubclass
            or exists (
                select from (
                    select c.oid as relation
                    union all
                    select p.relid::pg_catalog.oid from pg_catalog.pg_partition_tree(c.oid::pg_catalog.regclass) as p
                    where c.relkind operator(pg_catalog.=) 'p'
                ) as part
                where not exists (
                    select from pg_catalog.pg_class as pc
                    join pg_catalog.pg_attribute as pa on pa.attrelid operator(pg_catalog.=) pc.oid
                    where pc.oid operator(pg_catalog.=) part.relation
                      and pc.relkind::pg_catalog.text operator(pg_catalog.=) any ('{r, p}')
                      and pa.attname operator(pg_catalog.=) a.attname
                      and pa.attnotnull and not pa.attisdropped
                      and not exists (
                          select from pg_catalog.pg_constraint as k
                          where k.conrelid operator(pg_catalog.=) pc.oid
                            and k.contype operator(pg_catalog.=) 'n'
                            and pa.attnum operator(pg_catalog.=) any (k.conkey)
                            and not (k.convalidated and not k.connoinherit)))
            ) then null
        else true
    end
from (values $1) as wanted (relation, number)
join pg_catalog.pg_class as c on c.oid operator(pg_catalog.=) wanted.relation::pg_catalog.oid
join pg_catalog.pg_namespace as s on s.oid operator(pg_catalog.=) c.relnamespace
join pg_catalog.pg_attribute as a on a.attrelid operator(pg_catalog.=) c.oid
    and a.attnum operator(pg_catalog.=) wanted.number and not a.attisdropped
join pg_catalog.pg_type as ty on ty.oid operator(pg_catalog.=) a.atttypid
