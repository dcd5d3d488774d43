-- Who did what. Rows are written once, never changed, and not deleted for 90 days;
-- a trigger sees to it.

CREATE TABLE forge_audit (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         BIGINT  NOT NULL,
    actor      TEXT COLLATE "C" NOT NULL,
    action     TEXT COLLATE "C" NOT NULL,
    target     TEXT COLLATE "C",
    address    TEXT    NOT NULL,
    request_id TEXT    NOT NULL,
    -- HTTP status of the answer; a refused request leaves a row too.
    status     INTEGER NOT NULL,
    changed    BIGINT  NOT NULL,
    arguments  TEXT    NOT NULL
);

CREATE INDEX forge_audit_time ON forge_audit (at, id);
CREATE INDEX forge_audit_actor ON forge_audit (actor, at, id);
CREATE INDEX forge_audit_target ON forge_audit (target, at, id)
    WHERE target IS NOT NULL;

CREATE FUNCTION forge_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE'
        AND OLD.at <= (extract(epoch FROM statement_timestamp()) - 7776000) * 1000000
    THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER forge_audit_no_change BEFORE UPDATE OR DELETE ON forge_audit
    FOR EACH ROW EXECUTE FUNCTION forge_refuse_change();
