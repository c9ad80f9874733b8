DO $destroy$
DECLARE
    doomed record;
    granted record;
    -- The ledger is in it, so it was there before the first of the files.
    home name;
BEGIN
    SELECT n.nspname INTO home FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
        WHERE n.nspname OPERATOR(pg_catalog.=) ANY (pg_catalog.current_schemas(false))
            AND c.relname OPERATOR(pg_catalog.=) 'rowgate_migrations'
        ORDER BY pg_catalog.array_position(pg_catalog.current_schemas(false), n.nspname)
        LIMIT 1;
    FOR doomed IN
        SELECT nspname, pg_catalog.pg_get_userbyid(nspowner) AS owner, nspacl,
            pg_catalog.obj_description(oid, 'pg_namespace') AS comment
        FROM pg_catalog.pg_namespace
        WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
            AND pg_catalog.pg_has_role(nspowner, 'USAGE')
        ORDER BY nspname
    LOOP
        EXECUTE pg_catalog.format('DROP SCHEMA %I CASCADE', doomed.nspname);
        IF doomed.nspname IN ('public', home) THEN
            EXECUTE pg_catalog.format('CREATE SCHEMA %I AUTHORIZATION %I', doomed.nspname, doomed.owner);
            IF doomed.comment IS NOT NULL THEN
                EXECUTE pg_catalog.format('COMMENT ON SCHEMA %I IS %L', doomed.nspname, doomed.comment);
            END IF;
            FOR granted IN
                SELECT grantee, privilege_type
                FROM pg_catalog.aclexplode(doomed.nspacl)
                WHERE grantee <> 0 OR privilege_type IN ('USAGE', 'CREATE')
            LOOP
                EXECUTE pg_catalog.format('GRANT %s ON SCHEMA %I TO %s', granted.privilege_type, doomed.nspname,
                    CASE granted.grantee WHEN 0 THEN 'PUBLIC'
                        ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(granted.grantee)) END);
            END LOOP;
        END IF;
    END LOOP;
END
$destroy$
