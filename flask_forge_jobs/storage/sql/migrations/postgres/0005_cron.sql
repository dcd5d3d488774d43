-- What fires when, and what it makes.
CREATE TABLE forge_cron (
    name          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    kind          TEXT    NOT NULL,
    payload       TEXT    NOT NULL,
    queue_name    TEXT,
    cron_expr     TEXT    NOT NULL,
    timezone      TEXT    NOT NULL,
    enabled       BOOLEAN NOT NULL,
    max_attempts  INTEGER,
    dedupe_key    TEXT,
    last_fired_at BIGINT,
    next_fire_at  BIGINT,
    last_error    TEXT,
    created_at    BIGINT  NOT NULL,
    updated_at    BIGINT  NOT NULL,
    -- Who is enabled always knows when.
    CHECK (next_fire_at IS NOT NULL OR NOT enabled)
);
