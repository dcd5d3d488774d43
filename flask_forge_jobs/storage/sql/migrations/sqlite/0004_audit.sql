-- Who did what. Rows are written once, never changed, and not deleted for 90 days;
-- triggers see to it.

CREATE TABLE forge_audit (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    actor      TEXT    NOT NULL,
    action     TEXT    NOT NULL,
    target     TEXT,
    address    TEXT    NOT NULL,
    request_id TEXT    NOT NULL,
    -- HTTP status of the answer; a refused request leaves a row too.
    status     INTEGER NOT NULL,
    changed    INTEGER NOT NULL,
    arguments  TEXT    NOT NULL
);

CREATE INDEX forge_audit_time ON forge_audit (at, id);
CREATE INDEX forge_audit_actor ON forge_audit (actor, at, id);
CREATE INDEX forge_audit_target ON forge_audit (target, at, id)
    WHERE target IS NOT NULL;

CREATE TRIGGER forge_audit_no_update BEFORE UPDATE ON forge_audit BEGIN
    SELECT RAISE(ABORT, 'forge_audit is append-only');
END;

CREATE TRIGGER forge_audit_no_delete BEFORE DELETE ON forge_audit
WHEN old.at > (CAST(strftime('%s', 'now') AS INTEGER) - 7776000) * 1000000
BEGIN
    SELECT RAISE(ABORT, 'forge_audit is append-only');
END;
