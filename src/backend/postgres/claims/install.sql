GRANT USAGE ON SCHEMA rowgate TO PUBLIC;

-- The keys with which Rowgate signs claims, as the two pads of HMAC (RFC 2104). `rowgate claims install` sets them.
CREATE TABLE IF NOT EXISTS rowgate.claim_keys (
    id         pg_catalog.text  PRIMARY KEY,
    inner_pad  pg_catalog.bytea NOT NULL,
    outer_pad  pg_catalog.bytea NOT NULL,
    installed  pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now()
);
REVOKE ALL ON rowgate.claim_keys FROM PUBLIC;
-- Without a policy nobody but the owner reads or changes a row: not pg_read_all_data, not pg_write_all_data.
ALTER TABLE rowgate.claim_keys ENABLE ROW LEVEL SECURITY;

-- The identity of this session's process, for which Rowgate signs: the start of the server, the process, and the
-- other end of its connection, which tells it from an earlier process of the same number.
CREATE OR REPLACE FUNCTION rowgate.claim_session() RETURNS pg_catalog.bytea
LANGUAGE sql STABLE PARALLEL RESTRICTED AS $function$
    SELECT pg_catalog.timestamptz_send(pg_catalog.pg_postmaster_start_time())
        OPERATOR(pg_catalog.||) pg_catalog.int4send(pg_catalog.pg_backend_pid())
        OPERATOR(pg_catalog.||) pg_catalog.int4send(coalesce(pg_catalog.inet_client_port(), 0))
        OPERATOR(pg_catalog.||) coalesce(pg_catalog.inet_send(pg_catalog.inet_client_addr()), '')
$function$;

-- Takes claims from Rowgate, signed for this session until a time in microseconds since 1970, and seals them for this
-- transaction alone. Its parameters are worth nothing elsewhere or later; the seal, which the caller can read, nothing in
-- another transaction.
CREATE OR REPLACE FUNCTION rowgate.set_claims(
    claims pg_catalog.text, expires pg_catalog.int8, signature pg_catalog.bytea
) RETURNS pg_catalog.void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $function$
DECLARE
    message pg_catalog.bytea;
    sealed pg_catalog.bytea;
    seal pg_catalog.text;
BEGIN
    message := rowgate.claim_session()
        OPERATOR(pg_catalog.||) pg_catalog.int8send(expires)
        OPERATOR(pg_catalog.||) pg_catalog.convert_to(claims, 'UTF8');
    sealed := rowgate.claim_session()
        OPERATOR(pg_catalog.||) pg_catalog.timestamptz_send(pg_catalog.transaction_timestamp())
        OPERATOR(pg_catalog.||) pg_catalog.convert_to(claims, 'UTF8');
    -- Both sides are hashed with the key before they are compared: the time that it takes tells nothing.
    SELECT pg_catalog.encode(pg_catalog.sha256(k.outer_pad OPERATOR(pg_catalog.||)
            pg_catalog.sha256(k.inner_pad OPERATOR(pg_catalog.||) 'rowgate claims: transaction' OPERATOR(pg_catalog.||) sealed)), 'hex')
        INTO seal FROM rowgate.claim_keys AS k
        WHERE pg_catalog.sha256(k.inner_pad OPERATOR(pg_catalog.||) signature)
            OPERATOR(pg_catalog.=) pg_catalog.sha256(k.inner_pad OPERATOR(pg_catalog.||)
                pg_catalog.sha256(k.outer_pad OPERATOR(pg_catalog.||)
                    pg_catalog.sha256(k.inner_pad OPERATOR(pg_catalog.||) 'rowgate claims: session' OPERATOR(pg_catalog.||) message)))
        LIMIT 1;
    IF seal IS NULL THEN
        -- Not signed for this session by a key of this table.
        RAISE SQLSTATE 'RG001';
    END IF;
    IF expires::pg_catalog.float8 OPERATOR(pg_catalog./) 1000000
        OPERATOR(pg_catalog.<) pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) THEN
        -- Expired.
        RAISE SQLSTATE 'RG002';
    END IF;
    PERFORM pg_catalog.set_config('rowgate.claims', seal OPERATOR(pg_catalog.||) claims, true);
END
$function$;

-- A claim of the caller whose transaction this is, as text; NULL where it has none, and for all but Rowgate's callers.
-- In a policy: using (tenant = (select rowgate.claim('tenant'))), where the select has it run once for each statement.
CREATE OR REPLACE FUNCTION rowgate.claim(name pg_catalog.text) RETURNS pg_catalog.text
LANGUAGE plpgsql STABLE STRICT PARALLEL RESTRICTED SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $function$
DECLARE
    held pg_catalog.text := pg_catalog.current_setting('rowgate.claims', true);
    claims pg_catalog.text := pg_catalog.substr(held, 65);
    seal pg_catalog.bytea := pg_catalog.convert_to(pg_catalog.substr(held, 1, 64), 'UTF8');
    sealed pg_catalog.bytea;
BEGIN
    sealed := rowgate.claim_session()
        OPERATOR(pg_catalog.||) pg_catalog.timestamptz_send(pg_catalog.transaction_timestamp())
        OPERATOR(pg_catalog.||) pg_catalog.convert_to(claims, 'UTF8');
    PERFORM FROM rowgate.claim_keys AS k
        WHERE pg_catalog.sha256(k.inner_pad OPERATOR(pg_catalog.||) seal)
            OPERATOR(pg_catalog.=) pg_catalog.sha256(k.inner_pad OPERATOR(pg_catalog.||) pg_catalog.convert_to(pg_catalog.encode(
                pg_catalog.sha256(k.outer_pad OPERATOR(pg_catalog.||)
                    pg_catalog.sha256(k.inner_pad OPERATOR(pg_catalog.||) 'rowgate claims: transaction' OPERATOR(pg_catalog.||) sealed)),
                'hex'), 'UTF8'));
    IF FOUND THEN
        RETURN pg_catalog.json_object_field_text(claims::pg_catalog.json, name);
    END IF;
    RETURN NULL;
END
$function$;
