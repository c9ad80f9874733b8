-- The session that claims are signed for: its identity, the time of the database in microseconds since 1970, and the
-- rights of its role by which policies would be no boundary for its callers; empty if it has none. One row of one text.
select pg_catalog.concat_ws(' ', pg_catalog.encode(rowgate.claim_session(), 'hex'),
    pg_catalog.floor(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) operator(pg_catalog.*) 1000000)::pg_catalog.int8,
    (select pg_catalog.string_agg(found.what, ', ') from (select distinct danger.what from pg_catalog.pg_roles as r
        cross join lateral (values
            (r.rolsuper, 'is a superuser'),
            (r.rolbypassrls, 'passes over row-level security (BYPASSRLS)'),
            (r.rolreplication, 'may read everything by replication (REPLICATION)'),
            (r.rolcreaterole, 'may give itself other roles (CREATEROLE)'),
            (r.oid operator(pg_catalog.=) p.proowner, 'has the rights of the owner of the schema rowgate'),
            (r.rolname operator(pg_catalog.=) any ('{pg_execute_server_program, pg_read_server_files, pg_write_server_files}'),
                'may reach files of the server'),
            (exists (select from pg_catalog.pg_class as c
                where c.relrowsecurity and c.relowner operator(pg_catalog.=) r.oid),
                'owns a table with row-level security, and can turn it off')
        ) as danger (holds, what)
        where danger.holds and pg_catalog.pg_has_role(session_user, r.oid, 'MEMBER')
          and (r.rolsuper or not s.rolsuper)) as found))
from pg_catalog.pg_proc as p, pg_catalog.pg_roles as s
where p.oid operator(pg_catalog.=) pg_catalog.to_regprocedure(
        'rowgate.set_claims(pg_catalog.text,pg_catalog.int8,pg_catalog.bytea)')::pg_catalog.oid
  and s.rolname operator(pg_catalog.=) session_user
