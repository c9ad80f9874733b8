-- One at a time: the second of two at the same moment would fail. The number is the word `claims` in ASCII.
SELECT pg_catalog.pg_advisory_xact_lock(109299567521139);

-- The owner is a role that nobody is: no login has its rights.
DO $install$
DECLARE
    is_somebody pg_catalog.bool;
    schema_owner pg_catalog.text;
BEGIN
    SELECT r.rolcanlogin OR r.rolsuper INTO is_somebody
        FROM pg_catalog.pg_roles AS r WHERE r.rolname OPERATOR(pg_catalog.=) 'rowgate_claims';
    IF is_somebody IS NULL THEN
        CREATE ROLE rowgate_claims NOLOGIN NOINHERIT;
    ELSIF is_somebody THEN
        RAISE EXCEPTION 'the role rowgate_claims is a superuser or can log in: it must be a role that nobody is';
    END IF;
    SELECT pg_catalog.pg_get_userbyid(n.nspowner) INTO schema_owner FROM pg_catalog.pg_namespace AS n
        WHERE n.nspname OPERATOR(pg_catalog.=) 'rowgate';
    IF schema_owner OPERATOR(pg_catalog.<>) 'rowgate_claims' THEN
        RAISE EXCEPTION 'the schema rowgate belongs to %, who can replace what is in it: drop it or rename it', schema_owner;
    END IF;
    IF pg_catalog.current_setting('is_superuser') OPERATOR(pg_catalog.<>) 'on' THEN
        GRANT rowgate_claims TO CURRENT_USER;
    END IF;
END
$install$;
CREATE SCHEMA IF NOT EXISTS rowgate AUTHORIZATION rowgate_claims;
-- What is made from here on belongs to it, and default privileges of others do not apply.
SET LOCAL ROLE rowgate_claims;
