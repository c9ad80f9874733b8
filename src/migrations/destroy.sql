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
    -- What is in no schema. The first number of a user's object is 16384; what an extension made goes with it.
    FOR doomed IN
        SELECT pg_catalog.format('DROP PUBLICATION %I', pubname) AS statement
        FROM pg_catalog.pg_publication WHERE pg_catalog.pg_has_role(pubowner, 'USAGE')
        UNION ALL SELECT pg_catalog.format('DROP CAST (%s AS %s)', pg_catalog.format_type(castsource, NULL),
            pg_catalog.format_type(casttarget, NULL))
        FROM pg_catalog.pg_cast AS c
        WHERE c.oid >= 16384 AND EXISTS (SELECT FROM pg_catalog.pg_type AS t
                WHERE t.oid IN (castsource, casttarget) AND pg_catalog.pg_has_role(t.typowner, 'USAGE'))
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_cast'::pg_catalog.regclass
                    AND d.objid OPERATOR(pg_catalog.=) c.oid AND d.deptype IN ('e', 'i'))
        UNION ALL SELECT pg_catalog.format('DROP SERVER %I CASCADE', srvname)
        FROM pg_catalog.pg_foreign_server WHERE pg_catalog.pg_has_role(srvowner, 'USAGE')
        UNION ALL SELECT pg_catalog.format('DROP FOREIGN DATA WRAPPER %I CASCADE', fdwname)
        FROM pg_catalog.pg_foreign_data_wrapper AS w
        WHERE pg_catalog.pg_has_role(fdwowner, 'USAGE') AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
            WHERE d.objid OPERATOR(pg_catalog.=) w.oid AND d.deptype = 'e')
        UNION ALL SELECT pg_catalog.format('DROP EVENT TRIGGER %I', evtname)
        FROM pg_catalog.pg_event_trigger WHERE pg_catalog.pg_has_role(evtowner, 'USAGE')
        UNION ALL SELECT pg_catalog.format('SELECT pg_catalog.lo_unlink(%s)', oid)
        FROM pg_catalog.pg_largeobject_metadata WHERE pg_catalog.pg_has_role(lomowner, 'USAGE')
    LOOP
        EXECUTE doomed.statement;
    END LOOP;
END
$destroy$
