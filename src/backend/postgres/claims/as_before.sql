RESET ROLE;
DO $install$
BEGIN
    IF pg_catalog.current_setting('is_superuser') OPERATOR(pg_catalog.<>) 'on' THEN
        REVOKE rowgate_claims FROM CURRENT_USER;
    END IF;
END
$install$;
