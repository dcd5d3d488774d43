-- How often the job was claimed; never counted down nor begun anew, so it tells one run of
-- a job from every other one, where attempts that were given back repeat.
ALTER TABLE forge_job ADD COLUMN claims INTEGER NOT NULL DEFAULT 0;

-- It returns a column more.
DROP FUNCTION forge_claim(TEXT, TEXT, INTEGER);

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
    started_at        BIGINT,
    claims            INTEGER
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
        status = 'in_progress', attempts = job.attempts + 1,
        claims = job.claims + 1, process_id = new_owner,
        started_at = now_us, heartbeat_at = now_us, completed_at = NULL,
        progress = NULL
    WHERE job.id = ANY (picked)
    RETURNING
        job.id, job.queue_name, job.kind, job.payload, job.priority, job.scheduled_at,
        job.attempts, job.max_attempts, job.throttle_attempts, job.error_history,
        job.timeout_s, job.enqueued_at, job.started_at, job.claims;
END
$$;

-- The fence: still running, its owner's, and this very claim. COALESCE keeps the
-- planner on the primary key: by forge_job_running it would walk all running jobs for
-- each row. The id is equal to both of its bounds, and not joined by an equality, which a
-- plan that is made while the table is empty would check for every row of the key's
-- index, for as long as the connection lives. A job that a user asked to stop may only
-- end here as done or dead; what is left is for finish_cancelled.
CREATE OR REPLACE FUNCTION forge_finish(its_owner TEXT, outcomes JSON)
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
        AND job.claims = v.run
        AND (
            job.cancel_requested_at IS NULL OR v.new_status IN ('done', 'dead')
        )
    RETURNING job.id;
END
$$;

-- Whether the job has its seat. Who asks for the same seats at the same time waits, and
-- counts then what the one before has stored.
CREATE OR REPLACE FUNCTION forge_take_seat(
    its_id TEXT, its_owner TEXT, its_run INTEGER, its_seats TEXT, most INTEGER
) RETURNS BOOLEAN LANGUAGE plpgsql
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    taken BIGINT;
    is_seated BOOLEAN;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('forge_jobs seat ' || its_seats, 0));
    SELECT count(*)
    INTO taken
    FROM forge_job AS other
    WHERE other.seat_name = its_seats AND other.status = 'in_progress'
        AND other.seated_at = other.started_at AND other.id <> its_id;
    UPDATE forge_job AS job
    SET
        seat_name = its_seats,
        seated_at = CASE WHEN taken < most THEN job.started_at END
    WHERE job.id = its_id
        AND coalesce(job.status, '') = 'in_progress'
        AND coalesce(job.process_id, '') = its_owner
        AND job.claims = its_run
    RETURNING job.seated_at IS NOT NULL INTO is_seated;
    RETURN is_seated;
END
$$;
