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
    progress            TEXT,
    -- The cron schedule that made the job.
    schedule_name       TEXT COLLATE "C"
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
-- Without the id, by which jobs of one instant are ordered: it would be a third of the
-- entry, and every job makes three of them.
CREATE INDEX forge_job_list ON forge_job (queue_name, kind, status, enqueued_at);
CREATE INDEX forge_job_key ON forge_job (dedupe_key, enqueued_at, id)
    WHERE dedupe_key IS NOT NULL;
CREATE INDEX forge_job_schedule ON forge_job (schedule_name, enqueued_at, id)
    WHERE schedule_name IS NOT NULL;

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

-- The hot path. Its plans are kept for as long as a connection lives, so they must not
-- be those that suit a table that is still small: by index only.

-- Returns when the job may start, or NULL when nothing was stored: a clash on the id is
-- the producer's own repeated insert, one on the key is a duplicate.
CREATE FUNCTION forge_enqueue(
    new_id            TEXT,
    new_queue_name    TEXT,
    new_kind          TEXT,
    new_payload       TEXT,
    new_priority      INTEGER,
    new_run_at        BIGINT,
    new_max_attempts  INTEGER,
    new_dedupe_key    TEXT,
    new_timeout_s     DOUBLE PRECISION,
    new_schedule_name TEXT
) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
    now_us CONSTANT BIGINT := extract(epoch FROM statement_timestamp()) * 1000000;
    due_us CONSTANT BIGINT := greatest(new_run_at, now_us);
BEGIN
    INSERT INTO forge_job (
        id, queue_name, kind, payload, priority, enqueued_at, scheduled_at, deferred,
        max_attempts, dedupe_key, timeout_s, schedule_name
    )
    VALUES (
        new_id, new_queue_name, new_kind, new_payload, new_priority, now_us,
        due_us, due_us > now_us,
        new_max_attempts, new_dedupe_key, new_timeout_s, new_schedule_name
    )
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM pg_notify('forge_jobs_wake', new_queue_name);
    RETURN due_us;
END
$$;

-- Served by forge_job_claim, which holds due jobs only, so its cost does not depend on
-- how many wait for later. A paused or cooling queue hands out nothing.
CREATE FUNCTION forge_claim(from_queue TEXT, new_owner TEXT, most INTEGER)
RETURNS TABLE (
    id                TEXT,
    queue_name        TEXT,
    kind              TEXT,
    payload           TEXT,
    priority          INTEGER,
    scheduled_at      BIGINT,
    attempts          INTEGER,
    max_attempts      INTEGER,
    throttle_attempts INTEGER,
    error_history     TEXT,
    timeout_s         DOUBLE PRECISION,
    enqueued_at       BIGINT,
    started_at        BIGINT
)
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_sort = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    now_us CONSTANT BIGINT := extract(epoch FROM statement_timestamp()) * 1000000;
    -- Not joined to the update: a plan made while the table was empty would walk all of
    -- it for each claim, for as long as the connection lives.
    picked CONSTANT TEXT[] := ARRAY(
        SELECT id
        FROM forge_job
        WHERE queue_name = from_queue
            AND status IN ('pending', 'failed') AND NOT deferred
            AND NOT EXISTS (
                SELECT 1
                FROM forge_queue
                WHERE name = from_queue AND (paused OR throttled_until > now_us)
            )
        ORDER BY priority, scheduled_at, id
        LIMIT most
        FOR UPDATE OF forge_job SKIP LOCKED
    );
BEGIN
    IF cardinality(picked) = 0 THEN
        RETURN;
    END IF;
    RETURN QUERY
    UPDATE forge_job AS job
    SET
        status = 'in_progress', attempts = job.attempts + 1, process_id = new_owner,
        started_at = now_us, heartbeat_at = now_us, completed_at = NULL,
        progress = NULL
    WHERE job.id = ANY (picked)
    RETURNING
        job.id, job.queue_name, job.kind, job.payload, job.priority, job.scheduled_at,
        job.attempts, job.max_attempts, job.throttle_attempts, job.error_history,
        job.timeout_s, job.enqueued_at, job.started_at;
END
$$;

-- The fence: still running, its owner's, and this very attempt. COALESCE keeps the
-- planner on the primary key: by forge_job_running it would walk all running jobs for
-- each row. The id is equal to both of its bounds, and not joined by an equality, which a
-- plan that is made while the table is empty would check for every row of the key's
-- index, for as long as the connection lives. A job that a user asked to stop may only
-- end here as done or dead; what is left is for finish_cancelled.
CREATE FUNCTION forge_finish(its_owner TEXT, outcomes JSON)
RETURNS SETOF TEXT
LANGUAGE plpgsql
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    now_us CONSTANT BIGINT := extract(epoch FROM statement_timestamp()) * 1000000;
BEGIN
    RETURN QUERY
    UPDATE forge_job AS job
    SET
        status = v.new_status,
        attempts = job.attempts - v.uncount,
        throttle_attempts = CASE
            WHEN v.new_status = 'done' THEN 0 ELSE job.throttle_attempts + v.throttled
        END,
        scheduled_at = CASE
            WHEN v.delay_us IS NULL THEN job.scheduled_at ELSE now_us + v.delay_us
        END,
        deferred = coalesce(v.delay_us > 0, FALSE),
        completed_at = CASE WHEN v.new_status IN ('done', 'dead') THEN now_us END,
        last_error = coalesce(v.error, job.last_error),
        error_history = coalesce(v.history, job.error_history),
        result = v.new_result,
        process_id = NULL,
        heartbeat_at = NULL
    FROM
        json_to_recordset(outcomes) AS v (
            job_id TEXT, run INTEGER, new_status TEXT, uncount INTEGER,
            throttled INTEGER, delay_us BIGINT, error TEXT, history TEXT,
            new_result TEXT
        )
    WHERE job.id >= v.job_id AND job.id <= v.job_id
        AND coalesce(job.status, '') = 'in_progress'
        AND coalesce(job.process_id, '') = its_owner
        AND job.attempts = v.run
        AND (
            job.cancel_requested_at IS NULL OR v.new_status IN ('done', 'dead')
        )
    RETURNING job.id;
END
$$;

-- What the overview asks of every queue.

-- What waits, several rows a queue: how many jobs wait for a time that has come and no
-- worker has looked at yet, which count as due, and for how many whole seconds the oldest
-- has waited. Served by forge_job_claim, a seek for each priority in use and one more,
-- and forge_job_deferred.
CREATE FUNCTION forge_waiting()
RETURNS TABLE (queue_name TEXT, overdue BIGINT, waited_s BIGINT)
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    now_us CONSTANT BIGINT := extract(epoch FROM statement_timestamp()) * 1000000;
BEGIN
    RETURN QUERY
    WITH RECURSIVE first_of (name, priority, first_at) AS (
        SELECT forge_queue.name, job.priority, job.scheduled_at
        FROM forge_queue
        CROSS JOIN LATERAL (
            SELECT priority, scheduled_at
            FROM forge_job
            WHERE queue_name = forge_queue.name
                AND status IN ('pending', 'failed') AND NOT deferred
            ORDER BY priority, scheduled_at
            LIMIT 1
        ) AS job
        UNION ALL
        SELECT first_of.name, job.priority, job.scheduled_at
        FROM first_of
        CROSS JOIN LATERAL (
            SELECT priority, scheduled_at
            FROM forge_job
            WHERE queue_name = first_of.name
                AND status IN ('pending', 'failed') AND NOT deferred
                AND priority > first_of.priority
            ORDER BY priority, scheduled_at
            LIMIT 1
        ) AS job
    )
    SELECT name, 0::bigint, (now_us - first_at) / 1000000
    FROM first_of
    UNION ALL
    SELECT forge_queue.name, late.jobs, (now_us - late.first_at) / 1000000
    FROM forge_queue
    CROSS JOIN LATERAL (
        SELECT
            COUNT(*) FILTER (WHERE status = 'pending') AS jobs,
            MIN(scheduled_at) AS first_at
        FROM (
            SELECT status, scheduled_at
            FROM forge_job
            WHERE deferred AND queue_name = forge_queue.name AND scheduled_at <= now_us
            -- By forge_job_deferred also where a plan that is made while the table is
            -- empty would take any index of the queue's jobs.
            ORDER BY scheduled_at
        ) AS job
    ) AS late
    WHERE late.first_at IS NOT NULL;
END
$$;
