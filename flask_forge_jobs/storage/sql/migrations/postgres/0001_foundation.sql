-- Instants are whole microseconds since the Unix epoch, UTC. COLLATE "C" orders names and
-- ids by code point, as SQLite does.

CREATE TABLE forge_job (
    id                  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    queue_name          TEXT COLLATE "C" NOT NULL,
    kind                TEXT COLLATE "C" NOT NULL,
    payload             TEXT    NOT NULL,
    status              TEXT    NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'in_progress', 'done', 'failed', 'dead')),
    -- Of the last failure; NULL if none, or if the job was cancelled since. Near the front,
    -- because a trigger reads it at every update, and so all columns before it.
    signature           TEXT COLLATE "C",
    priority            INTEGER NOT NULL DEFAULT 0,
    enqueued_at         BIGINT  NOT NULL,
    scheduled_at        BIGINT  NOT NULL,
    -- Scheduled for later; keeps the row out of forge_job_claim.
    deferred            BOOLEAN NOT NULL DEFAULT FALSE,
    started_at          BIGINT,
    completed_at        BIGINT,
    attempts            INTEGER NOT NULL DEFAULT 0,
    max_attempts        INTEGER NOT NULL DEFAULT 5,
    throttle_attempts   INTEGER NOT NULL DEFAULT 0,
    -- How often a worker died while it ran the job.
    crashes             INTEGER NOT NULL DEFAULT 0,
    last_error          TEXT,
    -- Failures as JSON; NULL before the first one, as of most jobs.
    error_history       TEXT,
    worker_id           TEXT COLLATE "C",
    heartbeat_at        BIGINT,
    dedupe_key          TEXT COLLATE "C",
    cancel_requested_at BIGINT,
    -- Of the user's cancellation; a cancelled job that is dead has a request.
    cancel_reason       TEXT,
    timeout_s           DOUBLE PRECISION,
    result              TEXT,
    -- Why the task's return value is not stored.
    result_error        TEXT,
    progress            TEXT,
    -- The cron schedule that made the job.
    schedule_name       TEXT COLLATE "C",
    -- Context of the request or job that enqueued it, such as its id and trace.
    carried             TEXT,
    -- The instant of its schedule that it was fired for; unique.
    fire_at             BIGINT,
    -- Of a task with a concurrency limit: jobs that share a limit share the key. A job
    -- counts for as long as it runs in the run that was admitted.
    concurrency_key     TEXT COLLATE "C",
    -- The start of the run that was admitted; NULL while a job waits for the limit.
    admitted_at         BIGINT,
    -- How often it was claimed. Never reset, so it identifies a run; attempts are reset.
    claims              INTEGER NOT NULL DEFAULT 0,
    -- The batch that counts it. NULL, as the next two, of most jobs.
    batch_id            TEXT COLLATE "C",
    -- The earliest start of a job that waits for others; until then scheduled_at is the end
    -- of the year 9999. It stays if one of them died, so that both may be tried again.
    start_at            BIGINT,
    -- 1: others wait, or have waited, for this job; 2: it has waited for others; 3: both.
    ties                INTEGER
);

-- Each job is updated three times: leave room on the page and vacuum often.
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
-- Lists of failed jobs; no other job has an entry.
CREATE INDEX forge_job_retry ON forge_job (queue_name, scheduled_at)
    WHERE status = 'failed';
CREATE UNIQUE INDEX forge_job_dedupe ON forge_job (dedupe_key)
    WHERE dedupe_key IS NOT NULL AND status IN ('pending', 'in_progress', 'failed');
CREATE INDEX forge_job_running ON forge_job (worker_id, id)
    WHERE status = 'in_progress';
CREATE INDEX forge_job_cancelled ON forge_job (worker_id)
    WHERE status = 'in_progress' AND cancel_requested_at IS NOT NULL;
CREATE INDEX forge_job_finished ON forge_job (queue_name, status, completed_at)
    WHERE completed_at IS NOT NULL;
-- Without the id, the tie-breaker, which would be a third of each entry.
CREATE INDEX forge_job_list ON forge_job (queue_name, kind, status, enqueued_at);
CREATE INDEX forge_job_key ON forge_job (dedupe_key, enqueued_at, id)
    WHERE dedupe_key IS NOT NULL;
CREATE INDEX forge_job_schedule ON forge_job (schedule_name, enqueued_at, id)
    WHERE schedule_name IS NOT NULL;
CREATE UNIQUE INDEX forge_job_firing ON forge_job (schedule_name, fire_at)
    WHERE fire_at IS NOT NULL;
CREATE INDEX forge_job_signature ON forge_job (signature, enqueued_at, id)
    WHERE signature IS NOT NULL AND status IN ('failed', 'dead');
CREATE INDEX forge_job_concurrency ON forge_job (concurrency_key)
    WHERE status = 'in_progress' AND concurrency_key IS NOT NULL;
CREATE INDEX forge_job_concurrency_waiting ON forge_job (concurrency_key, priority, id)
    WHERE deferred AND concurrency_key IS NOT NULL AND admitted_at IS NULL;

-- Triggers keep the counts equal to the rows. They append changes, which are folded later;
-- readers sum.
CREATE TABLE forge_job_count (
    queue_name TEXT COLLATE "C" NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL,
    status     TEXT    NOT NULL,
    deferred   BOOLEAN NOT NULL,
    jobs       BIGINT  NOT NULL,
    -- No job in here was enqueued later. It may have left, so the newest one may be older.
    newest_at  BIGINT  NOT NULL
);

ALTER TABLE forge_job_count SET (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000
);
-- It has no key, and PostgreSQL deletes from a published table only with an identity.
ALTER TABLE forge_job_count REPLICA IDENTITY FULL;

CREATE FUNCTION forge_count_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Appends a row for each changed combination, so no transaction waits for a hot row.
    IF TG_OP = 'INSERT' THEN
        INSERT INTO forge_job_count (
            queue_name, kind, status, deferred, jobs, newest_at
        )
        SELECT queue_name, kind, status, deferred, count(*), max(enqueued_at)
        FROM added
        GROUP BY queue_name, kind, status, deferred;
    ELSE
        INSERT INTO forge_job_count (
            queue_name, kind, status, deferred, jobs, newest_at
        )
        SELECT queue_name, kind, status, deferred, sum(jobs), max(enqueued_at)
        FROM (
            SELECT queue_name, kind, status, deferred, enqueued_at, 1 AS jobs FROM added
            UNION ALL
            SELECT queue_name, kind, status, deferred, enqueued_at, -1 AS jobs
            FROM removed
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

-- The runs of jobs, numbered by their claims. A job that was done at its first attempt has
-- none: its own row has the same facts.
CREATE TABLE forge_attempt (
    job_id      TEXT COLLATE "C" NOT NULL,
    run         INTEGER NOT NULL,
    -- Repeats after a throttle, and begins again with a retry by a user.
    attempt     INTEGER NOT NULL,
    due_at      BIGINT  NOT NULL,
    started_at  BIGINT  NOT NULL,
    ended_at    BIGINT  NOT NULL,
    worker_id   TEXT COLLATE "C",
    worker_name TEXT,
    host        TEXT,
    slot        INTEGER,
    ending      TEXT    NOT NULL CHECK (
        ending IN (
            'done', 'failed', 'timed_out', 'crashed', 'throttled', 'snoozed',
            'cancelled', 'released'
        )
    ),
    error       TEXT,
    traceback   TEXT,
    -- The error without the parts that differ from one failure to the next.
    signature   TEXT,
    PRIMARY KEY (job_id, run)
);
-- The jobs of a lost worker.
CREATE INDEX forge_attempt_crashed ON forge_attempt (worker_id)
    WHERE ending = 'crashed';

-- Lines that tasks have logged. A row is one write of a run: a JSON array of the attempt
-- and of its lines, each an array of instant, level, logger and text. The first line is
-- counted from 0 within the run; a repeated write begins with the same one.
CREATE TABLE forge_log (
    job_id     TEXT COLLATE "C" NOT NULL,
    run        INTEGER NOT NULL,
    first_line INTEGER NOT NULL,
    lines      TEXT    NOT NULL,
    PRIMARY KEY (job_id, run, first_line)
);

-- Results of a job's steps, by name, for its next run. The row without a name has the value
-- that the task saved last.
CREATE TABLE forge_step (
    job_id TEXT COLLATE "C" NOT NULL,
    name   TEXT COLLATE "C" NOT NULL,
    run    INTEGER NOT NULL,
    result TEXT    NOT NULL,
    at     BIGINT  NOT NULL,
    PRIMARY KEY (job_id, name)
);

-- Nothing of a job outlives it. Most jobs have neither attempts beside their own row nor
-- lines nor steps, and jobs that are deleted together have ids near each other: one look at
-- all ids between them mostly saves one for each. One pass counts the jobs and finds these
-- ids. The settings rule out a plan that only suits a small table.
CREATE FUNCTION forge_forget_jobs() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
DECLARE
    first_id TEXT COLLATE "C";
    last_id  TEXT COLLATE "C";
BEGIN
    WITH gone AS MATERIALIZED (
        SELECT
            queue_name, kind, status, deferred, count(*) AS jobs,
            max(enqueued_at) AS newest_at, min(id) AS least_id, max(id) AS greatest_id
        FROM removed
        GROUP BY queue_name, kind, status, deferred
    ), counted AS (
        INSERT INTO forge_job_count (
            queue_name, kind, status, deferred, jobs, newest_at
        )
        SELECT queue_name, kind, status, deferred, -jobs, newest_at
        FROM gone
    )
    SELECT min(least_id), max(greatest_id) INTO first_id, last_id FROM gone;
    IF EXISTS (
        SELECT FROM forge_attempt WHERE job_id >= first_id AND job_id <= last_id
    ) THEN
        DELETE FROM forge_attempt
        USING removed
        WHERE (removed.status <> 'done' OR removed.claims > 1)
            AND forge_attempt.job_id = removed.id;
    END IF;
    IF EXISTS (
        SELECT FROM forge_log WHERE job_id >= first_id AND job_id <= last_id
    ) THEN
        -- An array takes 0.3 µs a job, a join with "removed" 0.9.
        DELETE FROM forge_log WHERE job_id = ANY (ARRAY(SELECT id FROM removed));
    END IF;
    IF EXISTS (
        SELECT FROM forge_step WHERE job_id >= first_id AND job_id <= last_id
    ) THEN
        DELETE FROM forge_step WHERE job_id = ANY (ARRAY(SELECT id FROM removed));
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER forge_job_delete AFTER DELETE ON forge_job
    REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION forge_forget_jobs();

-- Failures, and the failed and dead jobs now, by signature. Changes are appended, and
-- added to forge_error and forge_error_bucket later; readers sum.
CREATE TABLE forge_error_change (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    signature  TEXT COLLATE "C" NOT NULL,
    queue_name TEXT COLLATE "C" NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL,
    -- Of the failures; NULL for a change of the other counts.
    at         BIGINT,
    failures   BIGINT  NOT NULL DEFAULT 0,
    retrying   BIGINT  NOT NULL DEFAULT 0,
    dead       BIGINT  NOT NULL DEFAULT 0,
    -- The last job that failed, and its error.
    job_id     TEXT,
    message    TEXT
);

ALTER TABLE forge_error_change SET (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000
);

CREATE TABLE forge_error (
    signature  TEXT COLLATE "C" NOT NULL,
    queue_name TEXT COLLATE "C" NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL,
    -- Those of the days in forge_error_bucket together.
    failures   BIGINT  NOT NULL,
    -- The first failure may have left, as long as others follow.
    first_at   BIGINT,
    last_at    BIGINT,
    retrying   BIGINT  NOT NULL,
    dead       BIGINT  NOT NULL,
    job_id     TEXT,
    message    TEXT,
    PRIMARY KEY (signature, queue_name, kind)
);
CREATE INDEX forge_error_kind ON forge_error (queue_name, kind);

-- Failures by hour for a day, and all of them by day for a month.
CREATE TABLE forge_error_bucket (
    width_s      INTEGER NOT NULL,
    signature    TEXT COLLATE "C" NOT NULL,
    queue_name   TEXT COLLATE "C" NOT NULL,
    kind         TEXT COLLATE "C" NOT NULL,
    bucket_start BIGINT  NOT NULL,
    failures     BIGINT  NOT NULL,
    PRIMARY KEY (width_s, signature, queue_name, kind, bucket_start)
);
CREATE INDEX forge_error_bucket_time ON forge_error_bucket (width_s, bucket_start);

-- For each row: the conditions cost little for a job that never failed.
CREATE FUNCTION forge_count_errors() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE'
        AND (OLD.status, OLD.queue_name, OLD.kind)
            = (NEW.status, NEW.queue_name, NEW.kind)
        AND OLD.signature IS NOT DISTINCT FROM NEW.signature
    THEN
        RETURN NULL;
    END IF;
    IF OLD.signature IS NOT NULL AND OLD.status IN ('failed', 'dead') THEN
        INSERT INTO forge_error_change (signature, queue_name, kind, retrying, dead)
        VALUES (
            OLD.signature, OLD.queue_name, OLD.kind,
            -(OLD.status = 'failed')::integer, -(OLD.status = 'dead')::integer
        );
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF NEW.signature IS NOT NULL AND NEW.status IN ('failed', 'dead') THEN
            INSERT INTO forge_error_change (signature, queue_name, kind, retrying, dead)
            VALUES (
                NEW.signature, NEW.queue_name, NEW.kind,
                (NEW.status = 'failed')::integer, (NEW.status = 'dead')::integer
            );
        END IF;
    END IF;
    RETURN NULL;
END
$$;

-- The server reads a condition anew in each statement, so it is short.
CREATE TRIGGER forge_job_error_update AFTER UPDATE ON forge_job
    FOR EACH ROW WHEN (OLD.signature IS NOT NULL OR NEW.signature IS NOT NULL)
    EXECUTE FUNCTION forge_count_errors();
CREATE TRIGGER forge_job_error_delete AFTER DELETE ON forge_job
    FOR EACH ROW WHEN (OLD.signature IS NOT NULL)
    EXECUTE FUNCTION forge_count_errors();

-- Jobs that wait for others: a row for each pair, kept until the waiting job is deleted. A
-- parent is a job or a batch. Ids ascend from parent to child, so the order of ids, in
-- which all statements lock jobs, is also an order of the pairs.
CREATE TABLE forge_link (
    child_id    TEXT COLLATE "C" NOT NULL,
    parent_id   TEXT COLLATE "C" NOT NULL,
    -- NULL of a batch.
    parent_kind TEXT,
    on_dead     TEXT NOT NULL CHECK (on_dead IN ('cancel', 'run', 'hold')),
    -- How the parent ended, as far as this child is concerned; NULL while it waits.
    ended       TEXT CHECK (ended IN ('done', 'dead', 'deleted', 'released')),
    result      TEXT,
    error       TEXT,
    PRIMARY KEY (child_id, parent_id),
    CHECK (parent_id < child_id)
);
CREATE INDEX forge_link_parent ON forge_link (parent_id, child_id);
-- Each row is changed once, in place.
ALTER TABLE forge_link SET (fillfactor = 50);

-- Those pairs of which the parent has ended without being done and the child waits on. A row
-- outlives that for a minute.
CREATE TABLE forge_hold (
    parent_id TEXT COLLATE "C" NOT NULL,
    child_id  TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (parent_id, child_id)
);

-- Batches, with the counts of their jobs. A deleted job counts as removed unless it had
-- ended.
CREATE TABLE forge_batch (
    id                  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name                TEXT    NOT NULL,
    data                TEXT    NOT NULL,
    total               BIGINT  NOT NULL DEFAULT 0,
    done                BIGINT  NOT NULL DEFAULT 0,
    dead                BIGINT  NOT NULL DEFAULT 0,
    removed             BIGINT  NOT NULL DEFAULT 0,
    -- All jobs that its producer has are in it; it ends when they have.
    is_sealed           BOOLEAN NOT NULL,
    cancel_on_dead      BOOLEAN NOT NULL,
    cancel_requested_at BIGINT,
    -- JSON of the jobs to store at its events, with their ids.
    on_success          TEXT,
    on_finished         TEXT,
    on_dead             TEXT,
    -- When the events came, of which each comes once.
    succeeded_at        BIGINT,
    finished_at         BIGINT,
    died_at             BIGINT,
    -- The batch that counts it as one of its jobs.
    within              TEXT COLLATE "C",
    created_at          BIGINT  NOT NULL,
    last_added_at       BIGINT  NOT NULL,
    -- NULL while a job of it is unfinished, also after a retry.
    completed_at        BIGINT,
    -- The queues of all jobs that it has had, and of those at its events: JSON strings with
    -- commas between.
    queues              TEXT    NOT NULL DEFAULT ''
);
-- A busy one is written twenty times a second.
ALTER TABLE forge_batch SET (fillfactor = 50);
CREATE INDEX forge_batch_created ON forge_batch (created_at, id);
CREATE INDEX forge_batch_open ON forge_batch (created_at) WHERE completed_at IS NULL;
CREATE INDEX forge_batch_within ON forge_batch (within, id) WHERE within IS NOT NULL;

-- The ids of the jobs of a batch. Those of one call are consecutive numbers, which are one
-- row, and no other job has an id between them. An index of forge_job would be written at
-- each change of a job.
CREATE TABLE forge_batch_range (
    batch_id TEXT COLLATE "C" NOT NULL,
    first_id TEXT COLLATE "C" NOT NULL,
    last_id  TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (batch_id, first_id)
);

-- Jobs of a batch in the order of their ids: in a state or in any, or those that may be
-- cancelled and do not stop already; and only those that neither wait for others nor have
-- died with one. Range by range, since the planner would read and sort all of them for a
-- page.
CREATE FUNCTION forge_jobs_of_batch(
    its_id TEXT, after_id TEXT, max_jobs BIGINT, any_status BOOLEAN, its_status TEXT,
    may_be_cancelled BOOLEAN, may_wait BOOLEAN
)
RETURNS TABLE (id TEXT, result TEXT)
LANGUAGE plpgsql STABLE ROWS 50
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    left_over BIGINT := max_jobs;
    row_count BIGINT;
    its_range RECORD;
BEGIN
    FOR its_range IN
        SELECT first_id, last_id
        FROM forge_batch_range
        WHERE batch_id = its_id AND last_id > after_id
        ORDER BY first_id
    LOOP
        RETURN QUERY
        SELECT job.id, job.result
        FROM forge_job AS job
        WHERE job.id >= its_range.first_id AND job.id <= its_range.last_id
            AND job.id > after_id
            AND coalesce(job.batch_id, '') = its_id
            AND (
                any_status OR coalesce(job.status, '') = its_status
                OR (
                    may_be_cancelled
                    AND coalesce(job.status, '') IN ('pending', 'in_progress', 'failed')
                    AND (job.cancel_requested_at IS NULL OR job.status <> 'in_progress')
                )
            )
            AND (may_wait OR job.start_at IS NULL)
        ORDER BY job.id
        LIMIT left_over;
        GET DIAGNOSTICS row_count = ROW_COUNT;
        left_over := left_over - row_count;
        EXIT WHEN left_over <= 0;
    END LOOP;
END
$$;

-- The running jobs of all batches, which are never many. Served by forge_job_running, in
-- which every claim has left an entry until the next vacuum. A scan of the index in its
-- order marks the entries of jobs that run no longer, so that the next one passes them
-- quickly; a bitmap scan reads their rows each time.
CREATE FUNCTION forge_running_members()
RETURNS TABLE (id TEXT, batch_id TEXT)
LANGUAGE plpgsql STABLE ROWS 100
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT id, batch_id
    FROM forge_job
    WHERE status = 'in_progress' AND batch_id IS NOT NULL
    ORDER BY worker_id, id;
END
$$;

-- Its dead jobs, which are few.
CREATE TABLE forge_batch_dead (
    batch_id TEXT COLLATE "C" NOT NULL,
    job_id   TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (batch_id, job_id)
);

CREATE FUNCTION forge_forget_ranges() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM forge_batch_range WHERE batch_id = OLD.id;
    DELETE FROM forge_batch_dead WHERE batch_id = OLD.id;
    RETURN NULL;
END
$$;

CREATE TRIGGER forge_batch_delete AFTER DELETE ON forge_batch
    FOR EACH ROW EXECUTE FUNCTION forge_forget_ranges();

-- Changes of the counts of batches. They are appended, so that no transaction waits for the
-- row of the batch, and folded into it soon after; mostly there are none.
CREATE TABLE forge_batch_change (
    batch_id TEXT COLLATE "C" NOT NULL,
    added    BIGINT NOT NULL,
    done     BIGINT NOT NULL,
    dead     BIGINT NOT NULL,
    removed  BIGINT NOT NULL
);
CREATE INDEX forge_batch_change_batch ON forge_batch_change (batch_id);
ALTER TABLE forge_batch_change SET (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000
);
ALTER TABLE forge_batch_change REPLICA IDENTITY FULL;

CREATE FUNCTION forge_note_changes(changes JSON) RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO forge_batch_change (batch_id, added, done, dead, removed)
    SELECT v.batch_id, v.added, v.done, v.dead, v.removed
    FROM
        json_to_recordset(changes) AS v (
            batch_id TEXT, added BIGINT, done BIGINT, dead BIGINT, removed BIGINT
        );
END
$$;

-- Adds the changes of a batch to its row, locks and returns it, unless another session has
-- it locked: then it does nothing, and returns NULL in all columns. The second statement
-- sees all that the session before has stored. The commit need not wait for the disk,
-- because after a crash of the server the changes are still there, unless the transaction
-- has stored something else before.
CREATE FUNCTION forge_fold_batch(its_id TEXT) RETURNS SETOF forge_batch LANGUAGE plpgsql
SET enable_seqscan = off
SET jit = off
AS $$
BEGIN
    IF txid_current_if_assigned() IS NULL THEN
        PERFORM set_config('synchronous_commit', 'off', TRUE);
    END IF;
    PERFORM FROM forge_batch WHERE id = its_id FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN QUERY
        SELECT nothing.*
        FROM forge_batch AS b
        LEFT JOIN forge_batch AS nothing ON FALSE
        WHERE b.id = its_id;
        RETURN;
    END IF;
    WITH gone AS (
        DELETE FROM forge_batch_change
        WHERE batch_id = its_id
        RETURNING added, done, dead, removed
    ), folded AS (
        SELECT
            sum(added) AS added, sum(done) AS done, sum(dead) AS dead,
            sum(removed) AS removed
        FROM gone
    )
    UPDATE forge_batch AS b
    SET
        total = b.total + folded.added, done = b.done + folded.done,
        dead = b.dead + folded.dead, removed = b.removed + folded.removed
    FROM folded
    WHERE b.id = its_id AND folded.added IS NOT NULL;
    RETURN QUERY SELECT * FROM forge_batch WHERE id = its_id;
END
$$;

-- Locks the jobs that wait for the given parents, and says how these have ended. A link
-- that holds stays open until its parent is done. Arrays and no joins, of which one that
-- was planned while a table was small would read all of it.
CREATE FUNCTION forge_end_links(parents JSON) RETURNS VOID LANGUAGE plpgsql
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    parent_ids CONSTANT TEXT[] := ARRAY(
        SELECT v.parent_id FROM json_to_recordset(parents) AS v (parent_id TEXT)
    );
    child_ids CONSTANT TEXT[] := ARRAY(
        SELECT child_id
        FROM forge_link
        WHERE parent_id = ANY (parent_ids) AND ended IS NULL
    );
    alike RECORD;
BEGIN
    PERFORM FROM forge_job WHERE id = ANY (child_ids) ORDER BY id FOR NO KEY UPDATE;
    FOR alike IN
        SELECT v.ended, v.result, array_agg(v.parent_id) AS ids
        FROM json_to_recordset(parents) AS v (parent_id TEXT, ended TEXT, result TEXT)
        GROUP BY v.ended, v.result
    LOOP
        UPDATE forge_link AS link
        SET
            ended = alike.ended,
            result = coalesce(
                alike.result,
                (SELECT job.result FROM forge_job AS job WHERE job.id = link.parent_id)
            ),
            error = CASE
                WHEN alike.ended <> 'done' THEN (
                    SELECT job.last_error
                    FROM forge_job AS job
                    WHERE job.id = link.parent_id
                )
            END
        WHERE link.parent_id = ANY (alike.ids) AND link.ended IS NULL
            AND (alike.ended = 'done' OR link.on_dead <> 'hold');
    END LOOP;
END
$$;

-- The jobs that wait for the given parents among others: whether a parent is unfinished,
-- and the first one because of which the job dies.
CREATE FUNCTION forge_waiting_children(parents JSON)
RETURNS TABLE (
    id            TEXT,
    queue_name    TEXT,
    kind          TEXT,
    batch_id      TEXT,
    ties          INTEGER,
    attempts      INTEGER,
    error_history TEXT,
    is_open       BOOLEAN,
    dead_parent   TEXT
)
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    parent_ids CONSTANT TEXT[] := ARRAY(
        SELECT v.parent_id FROM json_to_recordset(parents) AS v (parent_id TEXT)
    );
    child_ids CONSTANT TEXT[] := ARRAY(
        SELECT child_id FROM forge_link WHERE parent_id = ANY (parent_ids)
    );
BEGIN
    RETURN QUERY
    SELECT
        job.id, job.queue_name, job.kind, job.batch_id, job.ties, job.attempts,
        job.error_history, link.is_open, link.dead_parent
    FROM forge_job AS job
    CROSS JOIN LATERAL (
        SELECT
            coalesce(bool_or(ended IS NULL), FALSE) AS is_open,
            min(parent_id) FILTER (
                WHERE ended IN ('dead', 'deleted') AND on_dead = 'cancel'
            ) AS dead_parent
        FROM forge_link
        WHERE child_id = job.id
    ) AS link
    WHERE job.start_at IS NOT NULL AND coalesce(job.status, '') = 'pending'
        AND job.id = ANY (child_ids)
    ORDER BY job.id;
END
$$;

-- Lets jobs start that wait for nothing else any more, once their own time has come.
CREATE FUNCTION forge_free_children(children JSON)
RETURNS TABLE (id TEXT, queue_name TEXT, deferred BOOLEAN)
LANGUAGE plpgsql
SET enable_seqscan = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    now_us CONSTANT BIGINT := extract(epoch FROM statement_timestamp()) * 1000000;
BEGIN
    RETURN QUERY
    UPDATE forge_job AS job
    SET
        scheduled_at = greatest(job.start_at, now_us),
        deferred = job.start_at > now_us,
        start_at = NULL
    WHERE job.start_at IS NOT NULL AND coalesce(job.status, '') = 'pending'
        AND job.id = ANY (ARRAY(
            SELECT v.job_id FROM json_to_recordset(children) AS v (job_id TEXT)
        ))
    RETURNING job.id, job.queue_name, job.deferred;
END
$$;

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
    updated_at           BIGINT  NOT NULL,
    -- Enqueuing fails while this many jobs wait; NULL means no bound.
    max_pending          INTEGER,
    -- Of a paused queue: the time, the user and the reason.
    paused_at            BIGINT,
    paused_by            TEXT,
    pause_reason         TEXT,
    -- The cause of the cool-down: the job that was throttled, or else the operator; and
    -- the reason given.
    throttled_job_id     TEXT,
    throttled_kind       TEXT,
    throttled_by         TEXT,
    throttle_cause       TEXT,
    -- The worker that served it last; written once a minute, and when a worker leaves.
    last_worker          TEXT,
    last_served_at       BIGINT
);

CREATE TABLE forge_slot (
    slot_id      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    queue_name   TEXT COLLATE "C" NOT NULL,
    worker_id    TEXT COLLATE "C" NOT NULL,
    started_at   BIGINT  NOT NULL,
    heartbeat_at BIGINT  NOT NULL,
    current_job  TEXT
);
CREATE INDEX forge_slot_queue ON forge_slot (queue_name, slot_id);
CREATE INDEX forge_slot_worker ON forge_slot (worker_id);

CREATE TABLE forge_worker (
    worker_id    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    heartbeat_at BIGINT  NOT NULL,
    worker_name  TEXT,
    queues       TEXT,
    -- The age of each service's last tick at the heartbeat.
    services     TEXT,
    threads      INTEGER,
    -- The kinds of its tasks, each between two line feeds; empty if too many.
    kinds        TEXT,
    started_at   BIGINT  NOT NULL,
    -- Of the package; NULL of a worker that did not say, as host and pid.
    version      TEXT,
    host         TEXT,
    pid          INTEGER,
    -- When other workers took its jobs. The row stays for an hour, but the worker counts
    -- no more; a heartbeat makes it live again.
    lost_at      BIGINT
);

-- The hot path. A connection keeps the plans of these functions for good, so settings
-- rule out plans that only suit a small table. Left to itself, the server plans anew for
-- each short list of ids, because a plan for any list looks dearer than both together.

-- Returns when the job may start, or NULL if nothing was stored: a conflict on the id is
-- the producer's own retry, one on the key a duplicate.
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
    new_schedule_name TEXT,
    new_carried       TEXT
) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
    now_us CONSTANT BIGINT := extract(epoch FROM statement_timestamp()) * 1000000;
    -- A negative start counts from now.
    due_us CONSTANT BIGINT := greatest(new_run_at, now_us - new_run_at, now_us);
    ignored TEXT;
BEGIN
    INSERT INTO forge_job (
        id, queue_name, kind, payload, priority, enqueued_at, scheduled_at, deferred,
        max_attempts, dedupe_key, timeout_s, schedule_name, carried
    )
    VALUES (
        new_id, new_queue_name, new_kind, new_payload, new_priority, now_us,
        due_us, due_us > now_us,
        new_max_attempts, new_dedupe_key, new_timeout_s, new_schedule_name,
        new_carried
    )
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    -- An assignment, because a query would take longer.
    ignored := pg_notify('forge_jobs_wake', new_queue_name)::text;
    RETURN due_us;
END
$$;

-- The same for a job of which no other session can know: the commit wakes the workers and
-- does not wait for the disk, and then the call does. So the disk has the job when the call
-- returns, and also when it runs, since it has the claim then, which is behind it in the
-- log. Commits that notify wait for each other, and these are short. With an actor, the
-- audit entry of a request that adds only this job is stored with it.
CREATE PROCEDURE forge_enqueue_early(
    new_id            TEXT,
    new_queue_name    TEXT,
    new_kind          TEXT,
    new_payload       TEXT,
    new_priority      INTEGER,
    new_run_at        BIGINT,
    new_max_attempts  INTEGER,
    new_dedupe_key    TEXT,
    new_timeout_s     DOUBLE PRECISION,
    new_schedule_name TEXT,
    new_carried       TEXT,
    known             INTEGER,
    INOUT due_us      BIGINT  DEFAULT NULL,
    entry_actor       TEXT    DEFAULT NULL,
    entry_action      TEXT    DEFAULT NULL,
    entry_target      TEXT    DEFAULT NULL,
    entry_address     TEXT    DEFAULT NULL,
    entry_request_id  TEXT    DEFAULT NULL,
    entry_status      INTEGER DEFAULT NULL,
    entry_changed     BIGINT  DEFAULT NULL,
    entry_arguments   TEXT    DEFAULT NULL,
    entry_requests    INTEGER DEFAULT NULL
) LANGUAGE plpgsql AS $$
DECLARE
    ignored TEXT;
BEGIN
    due_us := forge_enqueue(
        new_id, new_queue_name, new_kind, new_payload, new_priority, new_run_at,
        new_max_attempts, new_dedupe_key, new_timeout_s, new_schedule_name, new_carried
    );
    IF entry_actor IS NOT NULL AND due_us IS NOT NULL THEN
        INSERT INTO forge_audit (
            at, actor, action, target, address, request_id, status, changed, arguments,
            requests
        )
        VALUES (
            extract(epoch FROM statement_timestamp()) * 1000000,
            entry_actor, entry_action, entry_target, entry_address, entry_request_id,
            entry_status, entry_changed, entry_arguments, entry_requests
        );
    END IF;
    ignored := forge_check_version(known)::text;
    ignored := set_config('synchronous_commit', 'off', TRUE);
    COMMIT;
    ignored := pg_logical_emit_message(TRUE, 'forge_jobs', '')::text;
END
$$;

-- SKIP LOCKED may wait after all: if a row was changed just now, PostgreSQL locks its newer
-- version, for which it waits. Meanwhile its holder may wait for a row that the transaction
-- has locked before, out of the order of ids. So the functions that skip locked rows give
-- up, and are tried again, before the server looks for a deadlock, by default after 1 s.

-- Moves due jobs into the index for claims. Served by forge_job_deferred.
CREATE FUNCTION forge_promote(from_queue TEXT) RETURNS VOID
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_sort = off
SET jit = off
SET lock_timeout = '200ms'
AS $$
DECLARE
    now_us CONSTANT BIGINT := extract(epoch FROM statement_timestamp()) * 1000000;
    due CONSTANT TEXT[] := ARRAY(
        SELECT id
        FROM forge_job
        WHERE deferred AND queue_name = from_queue AND scheduled_at <= now_us
        ORDER BY scheduled_at
        LIMIT 500
        FOR UPDATE SKIP LOCKED
    );
BEGIN
    IF cardinality(due) > 0 THEN
        UPDATE forge_job SET deferred = FALSE WHERE deferred AND id = ANY (due);
    END IF;
END
$$;

-- Served by forge_job_claim, which holds only due jobs, so scheduled jobs cost nothing. A
-- paused or cooling queue yields none. Entries of jobs that were claimed since the last
-- vacuum stay in the index. So a claim may begin at a place behind them, and at the front
-- only for more urgent jobs. One that walked past many of them says so, if that is asked
-- for: in a row without a queue, with the pages of the index.
CREATE FUNCTION forge_claim(
    from_queue TEXT, new_worker TEXT, row_limit INTEGER,
    place_priority INTEGER DEFAULT NULL, place_at BIGINT DEFAULT NULL,
    is_measured BOOLEAN DEFAULT FALSE, known INTEGER DEFAULT NULL
)
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
    started_at        BIGINT,
    claims            INTEGER,
    carried           TEXT,
    has_key           BOOLEAN,
    crashes           INTEGER
)
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_sort = off
SET jit = off
SET plan_cache_mode = force_generic_plan
SET lock_timeout = '200ms'
AS $$
#variable_conflict use_column
DECLARE
    now_us CONSTANT BIGINT := extract(epoch FROM statement_timestamp()) * 1000000;
    pages       BIGINT;
    picked      TEXT[] := '{}';
    first_at    BIGINT := -9223372036854775808;
    first_level INTEGER := -2147483648;
    last_level  BIGINT := coalesce(place_priority - 1::bigint, 2147483647);
    ignored     TEXT;
BEGIN
    IF is_measured AND place_at IS NULL THEN
        pages := pg_stat_get_xact_blocks_fetched('forge_job_claim'::regclass);
    END IF;
    LOOP
        -- Apart from the update: a join planned while the table was empty would scan all
        -- of it for each claim.
        picked := picked || ARRAY(
            SELECT id
            FROM forge_job
            WHERE queue_name = from_queue
                AND status IN ('pending', 'failed') AND NOT deferred
                AND (priority, scheduled_at) >= (first_level, first_at)
                AND priority <= last_level
                AND NOT EXISTS (
                    SELECT 1
                    FROM forge_queue
                    WHERE name = from_queue AND (paused OR throttled_until > now_us)
                )
            ORDER BY priority, scheduled_at, id
            LIMIT row_limit - cardinality(picked)
            FOR UPDATE OF forge_job SKIP LOCKED
        );
        EXIT WHEN last_level = 2147483647;
        first_level := place_priority;
        first_at := place_at;
        last_level := 2147483647;
    END LOOP;
    IF known IS NOT NULL THEN  -- behind the lock of the table
        ignored := forge_check_version(known)::text;
    END IF;
    IF cardinality(picked) = 0 THEN
        RETURN;
    END IF;
    pages := pg_stat_get_xact_blocks_fetched('forge_job_claim'::regclass) - pages;
    -- A page has 50 entries at least, of names that are not long.
    IF pages > 100 + cardinality(picked) / 10 THEN
        RETURN QUERY
        SELECT
            from_queue, '', 'place', NULL::text, NULL::integer, pages,
            NULL::integer, NULL::integer, NULL::integer, NULL::text,
            NULL::double precision, NULL::bigint, NULL::bigint, NULL::integer,
            NULL::text, NULL::boolean, NULL::integer;
    END IF;
    RETURN QUERY
    UPDATE forge_job AS job
    SET
        status = 'in_progress', attempts = job.attempts + 1,
        claims = job.claims + 1, worker_id = new_worker,
        started_at = now_us, heartbeat_at = now_us, completed_at = NULL,
        progress = NULL
    WHERE job.id = ANY (picked)
    RETURNING
        job.id, job.queue_name, job.kind, job.payload, job.priority, job.scheduled_at,
        job.attempts, job.max_attempts, job.throttle_attempts, job.error_history,
        job.timeout_s, job.enqueued_at, job.started_at, job.claims, job.carried,
        job.dedupe_key IS NOT NULL, job.crashes;
END
$$;

-- The fence: the job still runs, and in this very claim of this worker. COALESCE keeps the
-- planner on the primary key: forge_job_running would read all running jobs for each row.
-- Two bounds for the id, because a join on equality planned while the table was empty
-- would read the whole index for each row. A job that was asked to stop ends here only as
-- done or dead; finish_cancelled ends the others. The rest of an outcome is one value: of
-- a success, by far the most frequent end, it is NULL, and each value of a row takes time.
-- With the ids it returns the batch and the ties as one text: most jobs have neither.
CREATE FUNCTION forge_finish(its_worker TEXT, outcomes JSON)
RETURNS TABLE (id TEXT, tie TEXT)
LANGUAGE plpgsql
SET enable_seqscan = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    now_us CONSTANT BIGINT := extract(epoch FROM statement_timestamp()) * 1000000;
BEGIN
    RETURN QUERY
    UPDATE forge_job AS job
    SET
        status = v.new_status,
        attempts = job.attempts - coalesce((v.rest ->> 'uncount')::integer, 0),
        throttle_attempts = CASE
            WHEN v.new_status = 'done' THEN 0
            ELSE job.throttle_attempts + (v.rest ->> 'throttled')::integer
        END,
        scheduled_at = coalesce(
            now_us + (v.rest ->> 'delay_us')::bigint, job.scheduled_at
        ),
        deferred = coalesce((v.rest ->> 'delay_us')::bigint > 0, FALSE),
        completed_at = CASE WHEN v.new_status IN ('done', 'dead') THEN now_us END,
        -- The run ended dead by itself, so the request had no effect.
        cancel_requested_at = CASE
            WHEN v.new_status <> 'dead' THEN job.cancel_requested_at
        END,
        last_error = coalesce(v.rest ->> 'error', job.last_error),
        error_history = coalesce(v.rest ->> 'history', job.error_history),
        result = v.new_result,
        result_error = v.rest ->> 'result_error',
        worker_id = NULL,
        heartbeat_at = NULL,
        signature = coalesce(v.rest ->> 'new_signature', job.signature)
    FROM
        json_to_recordset(outcomes) AS v (
            job_id TEXT, run INTEGER, new_status TEXT, new_result TEXT, rest JSONB
        )
    WHERE job.id >= v.job_id AND job.id <= v.job_id
        AND coalesce(job.status, '') = 'in_progress'
        AND coalesce(job.worker_id, '') = its_worker
        AND job.claims = v.run
        AND (
            job.cancel_requested_at IS NULL OR v.new_status IN ('done', 'dead')
        )
    RETURNING
        job.id,
        coalesce(job.batch_id || ' ' || coalesce(job.ties, 0), job.ties::text);
END
$$;

-- Frees the jobs that waited for the given ones alone, which are done, and returns their
-- queues. What forge_end_links and forge_free_children do, for the hot path: no job dies
-- with one that is done.
CREATE FUNCTION forge_release_done(parent_ids TEXT[], notifies BOOLEAN) RETURNS TEXT[]
LANGUAGE plpgsql
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    now_us CONSTANT BIGINT := extract(epoch FROM statement_timestamp()) * 1000000;
    child_ids CONSTANT TEXT[] := ARRAY(
        SELECT child_id
        FROM forge_link
        WHERE parent_id = ANY (parent_ids) AND ended IS NULL
    );
    queues TEXT[];
BEGIN
    PERFORM FROM forge_job WHERE id = ANY (child_ids) ORDER BY id FOR NO KEY UPDATE;
    UPDATE forge_link AS link
    SET
        ended = 'done',
        result = (SELECT job.result FROM forge_job AS job WHERE job.id = link.parent_id)
    WHERE link.parent_id = ANY (parent_ids) AND link.ended IS NULL;
    WITH freed AS (
        UPDATE forge_job AS job
        SET
            scheduled_at = greatest(job.start_at, now_us),
            deferred = job.start_at > now_us,
            start_at = NULL
        WHERE job.id = ANY (child_ids)
            AND job.start_at IS NOT NULL AND coalesce(job.status, '') = 'pending'
            -- No join, of which one that was planned while forge_link was small would
            -- read all of it.
            AND NOT coalesce(
                (
                    SELECT bool_or(link.ended IS NULL)
                    FROM forge_link AS link
                    WHERE link.child_id = job.id
                ),
                FALSE
            )
        RETURNING job.queue_name
    )
    SELECT array_agg(DISTINCT freed.queue_name) INTO queues FROM freed;
    IF notifies THEN
        PERFORM pg_notify('forge_jobs_wake', name) FROM unnest(queues) AS queue (name);
    END IF;
    RETURN queues;
END
$$;

-- Ends runs that are done and have nothing but a result to store, and claims the next jobs
-- unless the fence has held one back. Then it returns the ids of those, without a queue.
-- In rows with an empty queue it returns the batches whose counts have changed, the queues of
-- freed jobs, since a process ignores the notifications of its own connections, and those
-- where the next claim had better begin at a place. The version is checked last, behind all
-- locks.
CREATE FUNCTION forge_exchange(
    its_worker TEXT, grace_us BIGINT, done_queues TEXT[],
    job_ids TEXT[], runs INTEGER[], results TEXT[],
    from_queues TEXT[], row_limits INTEGER[], priorities INTEGER[], moments BIGINT[],
    promotes BOOLEAN, notifies BOOLEAN, known INTEGER
)
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
    started_at        BIGINT,
    claims            INTEGER,
    carried           TEXT,
    has_key           BOOLEAN,
    crashes           INTEGER
)
LANGUAGE plpgsql
SET enable_seqscan = off
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    now_us CONSTANT BIGINT := extract(epoch FROM statement_timestamp()) * 1000000;
    ended    TEXT[];
    batches  TEXT[];
    parents  TEXT[];
    released TEXT[];
    ignored  TEXT;
BEGIN
    IF cardinality(job_ids) > 0 THEN
        UPDATE forge_queue
        SET
            throttle_attempts = 0, throttled_until = NULL, throttled_job_id = NULL,
            throttled_kind = NULL, throttled_by = NULL, throttle_cause = NULL,
            updated_at = now_us
        WHERE name = ANY (done_queues)
            AND throttle_attempts > 0
            AND (throttled_until IS NULL OR throttled_until < now_us - grace_us);
        WITH stored AS (
            UPDATE forge_job AS job
            SET
                status = 'done', throttle_attempts = 0, deferred = FALSE,
                completed_at = now_us, result = v.new_result, result_error = NULL,
                worker_id = NULL, heartbeat_at = NULL
            FROM unnest(job_ids, runs, results) AS v (job_id, run, new_result)
            WHERE job.id >= v.job_id AND job.id <= v.job_id
                AND coalesce(job.status, '') = 'in_progress'
                AND its_worker = coalesce(job.worker_id, '') AND v.run = job.claims
            RETURNING job.id, job.batch_id, job.ties
        )
        SELECT
            array_agg(stored.id),
            array_agg(stored.batch_id) FILTER (WHERE stored.batch_id IS NOT NULL),
            array_agg(stored.id) FILTER (WHERE stored.ties & 1 = 1)
        INTO ended, batches, parents
        FROM stored;
        IF batches IS NOT NULL THEN
            INSERT INTO forge_batch_change (batch_id, added, done, dead, removed)
            SELECT batch.id, 0, count(*), 0, 0
            FROM unnest(batches) AS batch (id)
            GROUP BY batch.id;
        END IF;
        IF parents IS NOT NULL THEN
            released := forge_release_done(parents, notifies);
        END IF;
        IF batches IS NOT NULL OR released IS NOT NULL THEN
            RETURN QUERY
            SELECT DISTINCT
                note.id, '', note.sort, NULL::text, NULL::integer, NULL::bigint,
                NULL::integer, NULL::integer, NULL::integer, NULL::text,
                NULL::double precision, NULL::bigint, NULL::bigint, NULL::integer,
                NULL::text, NULL::boolean, NULL::integer
            FROM (
                SELECT unnest(batches), 'batch'
                UNION ALL
                SELECT unnest(released), 'queue'
            ) AS note (id, sort);
        END IF;
        IF coalesce(cardinality(ended), 0) < cardinality(job_ids) THEN
            RETURN QUERY
            SELECT
                v.job_id, NULL::text, NULL::text, NULL::text, NULL::integer, NULL::bigint,
                NULL::integer, NULL::integer, NULL::integer, NULL::text,
                NULL::double precision, NULL::bigint, NULL::bigint, NULL::integer,
                NULL::text, NULL::boolean, NULL::integer
            FROM unnest(job_ids) AS v (job_id)
            WHERE ended IS NULL OR v.job_id <> ALL (ended);
            ignored := forge_check_version(known)::text;
            RETURN;
        END IF;
    END IF;
    FOR place IN 1 .. coalesce(cardinality(from_queues), 0) LOOP
        IF promotes THEN
            PERFORM forge_promote(from_queues[place]);
        END IF;
        RETURN QUERY
        SELECT *
        FROM forge_claim(
            from_queues[place], its_worker, row_limits[place], priorities[place],
            moments[place], TRUE
        );
    END LOOP;
    ignored := forge_check_version(known)::text;
END
$$;

-- Several rows a queue: the number of due jobs that no worker has promoted yet, and the
-- whole seconds that the oldest has waited. Served by forge_job_claim, a seek for each
-- priority in use and one more, and forge_job_deferred.
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
            -- Keeps a plan made while the table was empty on forge_job_deferred.
            ORDER BY scheduled_at
        ) AS job
    ) AS late
    WHERE late.first_at IS NOT NULL;
END
$$;

-- Everything for the overview in one round trip and snapshot, as arrays of arrays.
CREATE FUNCTION forge_snapshot(silent_us BIGINT)
RETURNS TABLE (queues TEXT, counts TEXT, waiting TEXT, processes TEXT)
LANGUAGE plpgsql STABLE
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    now_us CONSTANT BIGINT := extract(epoch FROM statement_timestamp()) * 1000000;
BEGIN
    SELECT json_agg(
        json_build_array(
            q.name, q.max_workers, q.paused, q.retain_done_for_days,
            q.retain_dead_for_days, q.backoff_enabled, q.backoff_base_seconds,
            q.backoff_max_seconds, q.throttle_attempts, q.throttled_until,
            q.updated_at, q.max_pending, q.paused_at, q.paused_by, q.pause_reason,
            q.throttled_job_id, q.throttled_kind, q.throttled_by, q.throttle_cause,
            q.last_worker, q.last_served_at
        )
        ORDER BY q.name
    )
    INTO queues
    FROM forge_queue AS q;
    SELECT json_agg(json_build_array(c.queue_name, c.status, c.deferred, c.jobs))
    INTO counts
    FROM (
        SELECT queue_name, status, deferred, SUM(jobs) AS jobs
        FROM forge_job_count
        GROUP BY queue_name, status, deferred
        HAVING SUM(jobs) > 0
    ) AS c;
    SELECT json_agg(json_build_array(w.queue_name, w.overdue, w.waited_s))
    INTO waiting
    FROM forge_waiting() AS w;
    SELECT json_agg(
        json_build_array(
            p.slot_id, p.queue_name, p.worker_id, p.started_at, p.heartbeat_at,
            p.current_job
        )
        ORDER BY p.queue_name, p.slot_id
    )
    INTO processes
    FROM forge_slot AS p
    WHERE p.heartbeat_at >= now_us - silent_us;
    RETURN NEXT;
END
$$;

-- Whether the concurrency limit admits the job. Calls with the same key wait for each
-- other, so that each counts the jobs of the one before.
CREATE FUNCTION forge_acquire_concurrency(
    its_id TEXT, its_worker TEXT, its_run INTEGER, its_key TEXT, max_concurrent INTEGER
) RETURNS BOOLEAN LANGUAGE plpgsql
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    taken BIGINT;
    is_admitted BOOLEAN;
BEGIN
    PERFORM pg_advisory_xact_lock(
        hashtextextended('forge_jobs concurrency ' || its_key, 0)
    );
    SELECT count(*)
    INTO taken
    FROM forge_job AS other
    WHERE other.concurrency_key = its_key AND other.status = 'in_progress'
        AND other.admitted_at = other.started_at AND other.id <> its_id;
    UPDATE forge_job AS job
    SET
        concurrency_key = its_key,
        admitted_at = CASE WHEN taken < max_concurrent THEN job.started_at END
    WHERE job.id = its_id
        AND coalesce(job.status, '') = 'in_progress'
        AND coalesce(job.worker_id, '') = its_worker
        AND job.claims = its_run
    RETURNING job.admitted_at IS NOT NULL INTO is_admitted;
    RETURN is_admitted;
END
$$;

-- Bulk actions that run outside of their request, batch by batch. Each batch stores its
-- jobs, what it has changed and a longer lease in one transaction, so a process that takes
-- over goes on where the last one was.
CREATE TABLE forge_bulk_run (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    action     TEXT    NOT NULL,
    -- JSON of the filter, the queues of its author included.
    jobs       TEXT    NOT NULL,
    run_at     BIGINT,
    matched    BIGINT NOT NULL,
    changed    BIGINT NOT NULL DEFAULT 0,
    skipped    BIGINT NOT NULL DEFAULT 0,
    -- JSON of the last job of the walk; NULL at its start.
    place      TEXT,
    state      TEXT    NOT NULL DEFAULT 'running'
        CHECK (state IN ('running', 'done', 'stopped', 'failed')),
    error      TEXT,
    -- For the audit trail.
    actor      TEXT    NOT NULL,
    address    TEXT    NOT NULL,
    request_id TEXT    NOT NULL,
    arguments  TEXT    NOT NULL,
    created_at BIGINT NOT NULL,
    ended_at   BIGINT,
    holder     TEXT,
    expires_at BIGINT NOT NULL
);

CREATE INDEX forge_bulk_run_open ON forge_bulk_run (expires_at) WHERE state = 'running';

-- For work that one process at a time may do.
CREATE TABLE forge_lease (
    name       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    holder     TEXT   NOT NULL,
    expires_at BIGINT NOT NULL
);

-- Figures by level (bucket width in seconds), queue, kind, time and source (the process
-- that counted). A source adds to its own rows only; merged rows have no source. Rows
-- without a kind are for a whole queue, without a queue too for all jobs. Level 0 sums what
-- is too old for any bucket, for counters that must never go down. Level -1 has the names
-- of these counters.
CREATE TABLE forge_metric (
    level        INTEGER NOT NULL,
    queue_name   TEXT COLLATE "C" NOT NULL,
    kind         TEXT COLLATE "C" NOT NULL,
    bucket_start BIGINT  NOT NULL,
    source       TEXT COLLATE "C" NOT NULL,
    enqueued     BIGINT  NOT NULL,
    started      BIGINT  NOT NULL,
    retried      BIGINT  NOT NULL,
    completed    BIGINT  NOT NULL,
    dead         BIGINT  NOT NULL,
    refused      BIGINT  NOT NULL,
    cancelled    BIGINT  NOT NULL,
    wait_times   TEXT    NOT NULL,
    run_times    TEXT    NOT NULL,
    total_times  TEXT    NOT NULL,
    PRIMARY KEY (level, queue_name, kind, bucket_start, source)
);
CREATE INDEX forge_metric_time ON forge_metric (level, bucket_start);
CREATE INDEX forge_metric_unfolded ON forge_metric (level, bucket_start)
    WHERE source <> '';
-- The rows of current buckets are overwritten every two seconds.
ALTER TABLE forge_metric SET (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000
);

-- The number of each source's last write, so that none is stored twice.
CREATE TABLE forge_metric_source (
    source TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL
);

-- Resource use of processes and their database: sums over several samples.
CREATE TABLE forge_sample (
    level            INTEGER NOT NULL,
    worker_id        TEXT COLLATE "C" NOT NULL,
    bucket_start     BIGINT  NOT NULL,
    samples          INTEGER NOT NULL,
    cpu_pct          DOUBLE PRECISION NOT NULL,
    rss_bytes        BIGINT  NOT NULL,
    disk_read_bytes  BIGINT  NOT NULL,
    disk_write_bytes BIGINT  NOT NULL,
    disk_used_pct    DOUBLE PRECISION NOT NULL,
    pool_active      BIGINT  NOT NULL,
    pool_idle        BIGINT  NOT NULL,
    pool_max         BIGINT  NOT NULL,
    db_size_bytes    BIGINT  NOT NULL,
    wal_bytes        BIGINT  NOT NULL,
    read_times       TEXT    NOT NULL,
    write_times      TEXT    NOT NULL,
    PRIMARY KEY (level, bucket_start, worker_id)
);

-- What waits and runs in each queue, and who could run more: sums over several minutes, and
-- the oldest wait among them. The empty name stands for all queues.
CREATE TABLE forge_gauge (
    level         INTEGER NOT NULL,
    queue_name    TEXT COLLATE "C" NOT NULL,
    bucket_start  BIGINT  NOT NULL,
    samples       INTEGER NOT NULL,
    waiting       BIGINT  NOT NULL,
    oldest_wait_s BIGINT  NOT NULL,
    running       BIGINT  NOT NULL,
    free_slots    BIGINT  NOT NULL,
    live_workers  BIGINT  NOT NULL,
    PRIMARY KEY (level, queue_name, bucket_start)
);
CREATE INDEX forge_gauge_time ON forge_gauge (level, bucket_start);

-- The audit trail. Triggers refuse updates, and deletions within 90 days.
CREATE TABLE forge_audit (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         BIGINT  NOT NULL,
    actor      TEXT COLLATE "C" NOT NULL,
    action     TEXT COLLATE "C" NOT NULL,
    target     TEXT COLLATE "C",
    address    TEXT    NOT NULL,
    request_id TEXT    NOT NULL,
    -- HTTP status of the answer; refused requests have rows too.
    status     INTEGER NOT NULL,
    changed    BIGINT  NOT NULL,
    arguments  TEXT    NOT NULL,
    -- Number of requests; equal refused ones share a row.
    requests   INTEGER NOT NULL DEFAULT 1
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
CREATE TRIGGER forge_audit_no_truncate BEFORE TRUNCATE ON forge_audit
    FOR EACH STATEMENT EXECUTE FUNCTION forge_refuse_change();

-- An error history with one more entry; see append_entry() in model/claims.py. Only that one
-- may have a traceback, and a damaged history begins anew.
CREATE FUNCTION forge_with_error(history TEXT, entry TEXT) RETURNS TEXT
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    kept TEXT;
BEGIN
    SELECT string_agg(
        CASE WHEN old.entry -> 'traceback' IS NULL THEN old.entry::text ELSE (
            SELECT '{' || string_agg(to_json(key)::text || ':' || value::text, ',') || '}'
            FROM json_each(old.entry)
            WHERE key <> 'traceback'
        ) END,
        ',' ORDER BY old.place
    )
    INTO kept
    FROM (
        SELECT v.entry, v.place
        FROM json_array_elements(history::json) WITH ORDINALITY AS v (entry, place)
        ORDER BY v.place DESC
        LIMIT 31
    ) AS old;
    RETURN '[' || coalesce(kept || ',', '') || entry || ']';
EXCEPTION WHEN data_exception THEN
    RETURN '[' || entry || ']';
END
$$;

-- Cron schedules.
CREATE TABLE forge_cron (
    name          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    kind          TEXT    NOT NULL,
    payload       TEXT    NOT NULL,
    queue_name    TEXT,
    cron_expr     TEXT    NOT NULL,
    timezone      TEXT    NOT NULL,
    enabled       BOOLEAN NOT NULL,
    max_attempts  INTEGER,
    dedupe_key    TEXT COLLATE "C",
    last_fired_at BIGINT,
    next_fire_at  BIGINT,
    last_error    TEXT,
    created_at    BIGINT  NOT NULL,
    updated_at    BIGINT  NOT NULL,
    -- The rule for missed firings.
    catch_up      TEXT    NOT NULL DEFAULT 'once',
    catch_up_limit INTEGER NOT NULL DEFAULT 100,
    -- The application that declares the schedule, and its last declaration.
    declared_by   TEXT COLLATE "C",
    declared_as   TEXT,
    CHECK (next_fire_at IS NOT NULL OR NOT enabled)
);

-- Answers to requests with an idempotency key.
CREATE TABLE forge_request_key (
    caller      TEXT COLLATE "C" NOT NULL,
    request_key TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT   NOT NULL,
    answer      TEXT   NOT NULL,
    expires_at  BIGINT NOT NULL,
    PRIMARY KEY (caller, request_key)
);
CREATE INDEX forge_request_key_expiry ON forge_request_key (expires_at);

-- Token buckets. A drained one has last_refilled_at in the future.
CREATE TABLE forge_rate_limit (
    scope            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    capacity         BIGINT NOT NULL,
    refill_per_sec   DOUBLE PRECISION NOT NULL,
    tokens           DOUBLE PRECISION NOT NULL,
    last_refilled_at BIGINT NOT NULL,
    -- When the last caller in line gets its tokens.
    line_ends_at     BIGINT NOT NULL DEFAULT 0,
    -- The last declaration in an application's code.
    declared_as      TEXT
);

-- Few but hot rows: leave room on the page for their next versions.
ALTER TABLE forge_rate_limit SET (fillfactor = 50);

-- Jobs to enqueue when a job of a kind ends dead or cancelled. The transaction that ends it
-- does so, so the process need not know the task.
CREATE TABLE forge_follow_up (
    of_kind      TEXT COLLATE "C" NOT NULL,
    ending       TEXT COLLATE "C" NOT NULL CHECK (ending IN ('dead', 'cancelled')),
    kind         TEXT    NOT NULL,
    parameter    TEXT    NOT NULL,
    queue_name   TEXT    NOT NULL,
    priority     INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    -- The application that declares it.
    declared_by  TEXT    NOT NULL,
    PRIMARY KEY (of_kind, ending)
);
