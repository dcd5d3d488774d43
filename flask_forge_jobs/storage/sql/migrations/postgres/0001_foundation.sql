-- Instants are whole microseconds since the Unix epoch, UTC. Names and ids are ordered
-- by code point, as SQLite does, whatever the locale of the server.

CREATE TABLE forge_job (
    id                  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    queue_name          TEXT COLLATE "C" NOT NULL,
    kind                TEXT COLLATE "C" NOT NULL,
    payload             TEXT    NOT NULL,
    status              TEXT    NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'in_progress', 'done', 'failed', 'dead')),
    priority            INTEGER NOT NULL DEFAULT 0,
    enqueued_at         BIGINT  NOT NULL,
    scheduled_at        BIGINT  NOT NULL,
    -- Waiting for its time: keeps such rows out of the index that claims walk.
    deferred            BOOLEAN NOT NULL DEFAULT FALSE,
    started_at          BIGINT,
    completed_at        BIGINT,
    attempts            INTEGER NOT NULL DEFAULT 0,
    max_attempts        INTEGER NOT NULL DEFAULT 5,
    throttle_attempts   INTEGER NOT NULL DEFAULT 0,
    -- How often the job's worker process died under it.
    crashes             INTEGER NOT NULL DEFAULT 0,
    last_error          TEXT,
    error_history       TEXT    NOT NULL DEFAULT '[]',
    process_id          TEXT COLLATE "C",
    heartbeat_at        BIGINT,
    dedupe_key          TEXT COLLATE "C",
    cancel_requested_at BIGINT,
    timeout_s           DOUBLE PRECISION,
    result              TEXT,
    progress            TEXT
);

-- Three updates a job: leave room on the page, and vacuum before the bloat is felt.
ALTER TABLE forge_job SET (
    fillfactor = 85,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_analyze_scale_factor = 0.02,
    autovacuum_analyze_threshold = 1000
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
CREATE INDEX forge_job_list
    ON forge_job (queue_name, kind, status, enqueued_at, id);
CREATE INDEX forge_job_newest ON forge_job (enqueued_at, id);

-- Counts are maintained by the database itself, so they equal the rows whatever
-- statement changed them. Changes are appended and folded later; readers sum.
CREATE TABLE forge_job_count (
    queue_name TEXT COLLATE "C" NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL,
    status     TEXT    NOT NULL,
    deferred   BOOLEAN NOT NULL,
    jobs       BIGINT  NOT NULL
);

ALTER TABLE forge_job_count SET (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000
);

CREATE FUNCTION forge_count_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- One appended row for each changed combination: no hot row to wait for.
    IF TG_OP = 'INSERT' THEN
        INSERT INTO forge_job_count (queue_name, kind, status, deferred, jobs)
        SELECT queue_name, kind, status, deferred, count(*)
        FROM added
        GROUP BY queue_name, kind, status, deferred;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO forge_job_count (queue_name, kind, status, deferred, jobs)
        SELECT queue_name, kind, status, deferred, -count(*)
        FROM removed
        GROUP BY queue_name, kind, status, deferred;
    ELSE
        INSERT INTO forge_job_count (queue_name, kind, status, deferred, jobs)
        SELECT queue_name, kind, status, deferred, sum(jobs)
        FROM (
            SELECT queue_name, kind, status, deferred, 1 AS jobs FROM added
            UNION ALL
            SELECT queue_name, kind, status, deferred, -1 AS jobs FROM removed
        ) AS change
        GROUP BY queue_name, kind, status, deferred
        HAVING sum(jobs) <> 0;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER forge_job_count_insert AFTER INSERT ON forge_job
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION forge_count_jobs();
CREATE TRIGGER forge_job_count_update AFTER UPDATE ON forge_job
    REFERENCING OLD TABLE AS removed NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION forge_count_jobs();
CREATE TRIGGER forge_job_count_delete AFTER DELETE ON forge_job
    REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION forge_count_jobs();

CREATE TABLE forge_queue (
    name                 TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    max_workers          INTEGER NOT NULL,
    paused               BOOLEAN NOT NULL DEFAULT FALSE,
    retain_done_for_days INTEGER NOT NULL DEFAULT 7,
    retain_dead_for_days INTEGER NOT NULL DEFAULT 30,
    backoff_enabled      BOOLEAN NOT NULL DEFAULT FALSE,
    backoff_base_seconds INTEGER NOT NULL DEFAULT 60,
    backoff_max_seconds  INTEGER NOT NULL DEFAULT 1800,
    throttle_attempts    INTEGER NOT NULL DEFAULT 0,
    throttled_until      BIGINT,
    updated_at           BIGINT  NOT NULL
);

CREATE TABLE forge_process (
    process_id   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    queue_name   TEXT COLLATE "C" NOT NULL,
    host_id      TEXT COLLATE "C" NOT NULL,
    started_at   BIGINT  NOT NULL,
    heartbeat_at BIGINT  NOT NULL,
    current_job  TEXT
);
CREATE INDEX forge_process_queue ON forge_process (queue_name, process_id);
CREATE INDEX forge_process_host ON forge_process (host_id);

CREATE TABLE forge_pod (
    host_id      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    heartbeat_at BIGINT  NOT NULL,
    worker_name  TEXT,
    queues       TEXT
);
