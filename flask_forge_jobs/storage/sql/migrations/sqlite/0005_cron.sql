-- What fires when, and what it makes.
CREATE TABLE forge_cron (
    name          TEXT NOT NULL PRIMARY KEY,
    kind          TEXT    NOT NULL,
    payload       TEXT    NOT NULL,
    queue_name    TEXT,
    cron_expr     TEXT    NOT NULL,
    timezone      TEXT    NOT NULL,
    enabled       BOOLEAN NOT NULL,
    max_attempts  INTEGER,
    dedupe_key    TEXT,
    last_fired_at INTEGER,
    next_fire_at  INTEGER,
    last_error    TEXT,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    -- Who is enabled always knows when.
    CHECK (next_fire_at IS NOT NULL OR NOT enabled)
) WITHOUT ROWID;
