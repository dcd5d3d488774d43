-- Instants are whole microseconds since the Unix epoch, UTC.

CREATE TABLE forge_job (
    id                  TEXT    NOT NULL PRIMARY KEY,
    queue_name          TEXT    NOT NULL,
    kind                TEXT    NOT NULL,
    payload             TEXT    NOT NULL,
    status              TEXT    NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'in_progress', 'done', 'failed', 'dead')),
    priority            INTEGER NOT NULL DEFAULT 0,
    enqueued_at         INTEGER NOT NULL,
    scheduled_at        INTEGER NOT NULL,
    -- Waiting for its time: keeps such rows out of the index that claims walk.
    deferred            BOOLEAN NOT NULL DEFAULT FALSE,
    started_at          INTEGER,
    completed_at        INTEGER,
    attempts            INTEGER NOT NULL DEFAULT 0,
    max_attempts        INTEGER NOT NULL DEFAULT 5,
    throttle_attempts   INTEGER NOT NULL DEFAULT 0,
    -- How often the job's worker process died under it.
    crashes             INTEGER NOT NULL DEFAULT 0,
    last_error          TEXT,
    error_history       TEXT    NOT NULL DEFAULT '[]',
    process_id          TEXT,
    heartbeat_at        INTEGER,
    dedupe_key          TEXT,
    cancel_requested_at INTEGER,
    timeout_s           REAL,
    result              TEXT,
    progress            TEXT,
    -- The cron schedule that made the job.
    schedule_name       TEXT
);

CREATE INDEX forge_job_claim ON forge_job (queue_name, priority, scheduled_at, id)
    WHERE status IN ('pending', 'failed') AND NOT deferred;
CREATE INDEX forge_job_deferred ON forge_job (queue_name, scheduled_at)
    WHERE deferred;
CREATE UNIQUE INDEX forge_job_dedupe ON forge_job (dedupe_key)
    WHERE dedupe_key IS NOT NULL AND status IN ('pending', 'in_progress', 'failed');
CREATE INDEX forge_job_running ON forge_job (process_id, id)
    WHERE status = 'in_progress';
CREATE INDEX forge_job_cancelled ON forge_job (process_id)
    WHERE status = 'in_progress' AND cancel_requested_at IS NOT NULL;
CREATE INDEX forge_job_finished ON forge_job (queue_name, status, completed_at)
    WHERE completed_at IS NOT NULL;
CREATE INDEX forge_job_unsuccessful ON forge_job (status, id)
    WHERE status IN ('failed', 'dead');
-- Without the id, by which jobs of one instant are ordered: it would be a third of the
-- entry, and every job makes three of them.
CREATE INDEX forge_job_list ON forge_job (queue_name, kind, status, enqueued_at);
CREATE INDEX forge_job_key ON forge_job (dedupe_key, enqueued_at, id)
    WHERE dedupe_key IS NOT NULL;
CREATE INDEX forge_job_schedule ON forge_job (schedule_name, enqueued_at, id)
    WHERE schedule_name IS NOT NULL;

-- Counts are maintained by the database itself, so they equal the rows whatever
-- statement changed them. Readers sum, so that the other backend may append.
CREATE TABLE forge_job_count (
    queue_name TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    status     TEXT    NOT NULL,
    deferred   BOOLEAN NOT NULL,
    jobs       INTEGER NOT NULL,
    PRIMARY KEY (queue_name, kind, status, deferred)
) WITHOUT ROWID;

CREATE TRIGGER forge_job_count_insert AFTER INSERT ON forge_job BEGIN
    INSERT INTO forge_job_count (queue_name, kind, status, deferred, jobs)
    VALUES (new.queue_name, new.kind, new.status, new.deferred, 1)
    ON CONFLICT (queue_name, kind, status, deferred) DO UPDATE SET jobs = jobs + 1;
END;

CREATE TRIGGER forge_job_count_update
AFTER UPDATE OF queue_name, kind, status, deferred ON forge_job
WHEN old.status <> new.status OR old.deferred <> new.deferred
    OR old.queue_name <> new.queue_name OR old.kind <> new.kind
BEGIN
    UPDATE forge_job_count SET jobs = jobs - 1
    WHERE queue_name = old.queue_name AND kind = old.kind
        AND status = old.status AND deferred = old.deferred;
    INSERT INTO forge_job_count (queue_name, kind, status, deferred, jobs)
    VALUES (new.queue_name, new.kind, new.status, new.deferred, 1)
    ON CONFLICT (queue_name, kind, status, deferred) DO UPDATE SET jobs = jobs + 1;
END;

CREATE TRIGGER forge_job_count_delete AFTER DELETE ON forge_job BEGIN
    UPDATE forge_job_count SET jobs = jobs - 1
    WHERE queue_name = old.queue_name AND kind = old.kind
        AND status = old.status AND deferred = old.deferred;
END;

CREATE TABLE forge_queue (
    name                 TEXT    NOT NULL PRIMARY KEY,
    max_workers          INTEGER NOT NULL,
    paused               BOOLEAN NOT NULL DEFAULT FALSE,
    retain_done_for_days INTEGER NOT NULL DEFAULT 7,
    retain_dead_for_days INTEGER NOT NULL DEFAULT 30,
    backoff_enabled      BOOLEAN NOT NULL DEFAULT FALSE,
    backoff_base_seconds INTEGER NOT NULL DEFAULT 60,
    backoff_max_seconds  INTEGER NOT NULL DEFAULT 1800,
    throttle_attempts    INTEGER NOT NULL DEFAULT 0,
    throttled_until      INTEGER,
    updated_at           INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE forge_process (
    process_id   TEXT    NOT NULL PRIMARY KEY,
    queue_name   TEXT    NOT NULL,
    host_id      TEXT    NOT NULL,
    started_at   INTEGER NOT NULL,
    heartbeat_at INTEGER NOT NULL,
    current_job  TEXT
) WITHOUT ROWID;
CREATE INDEX forge_process_queue ON forge_process (queue_name, process_id);
CREATE INDEX forge_process_host ON forge_process (host_id);

CREATE TABLE forge_pod (
    host_id      TEXT    NOT NULL PRIMARY KEY,
    heartbeat_at INTEGER NOT NULL,
    worker_name  TEXT,
    queues       TEXT
) WITHOUT ROWID;
