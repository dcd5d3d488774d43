-- fragment: id_if_readable
-- If the schema is too new for this code, the id is NULL and the insert fails; a check in
-- the WHERE of a SELECT would cost twice as much.
CASE
    WHEN (
        SELECT oldest_reader
        FROM forge_schema
        ORDER BY version DESC
        LIMIT 1
    ) <= :known THEN :id
END

-- name: enqueue
-- A conflict on the id is our own retry, one on the key a duplicate.
INSERT INTO forge_job (/* use new_job_columns */)
VALUES (
    /* use id_if_readable */,
    :queue_name, :dedupe_key, :now,
    /* use chosen_start */,
    COALESCE(:run_at > :now OR :run_at < 0, FALSE),
    /* use copied_parameters */
)
ON CONFLICT DO NOTHING
RETURNING scheduled_at

-- name: enqueue_now
-- The same of a job that starts at once, which most do. Without RETURNING, for which
-- SQLite makes a table: the instant is known.
INSERT INTO forge_job (/* use new_job_columns */)
VALUES (
    /* use id_if_readable */,
    :queue_name, :dedupe_key, :now, :now, FALSE,
    /* use copied_parameters */
)
ON CONFLICT DO NOTHING

-- name: append_jobs
-- Jobs without a key or a schedule, under unused ids.
INSERT INTO forge_job (/* use row_columns */)
VALUES (/* use row_marks */)

-- name: append_tied_jobs
-- The same of jobs that wait for others or have a batch.
INSERT INTO forge_job (/* use tied_row_columns */)
VALUES (/* use tied_row_marks */)

-- name: promote
-- Served by forge_job_deferred: moves due jobs into the index for claims.
WITH due AS MATERIALIZED (
    SELECT id
    FROM forge_job
    WHERE deferred AND queue_name = :queue_name AND scheduled_at <= :now
    ORDER BY scheduled_at
    LIMIT 500
)
UPDATE forge_job
SET deferred = FALSE
WHERE deferred AND id IN (SELECT id FROM due)

-- name: claim
-- Served by forge_job_claim, which holds only due jobs, so scheduled jobs cost nothing. A
-- paused or cooling queue yields none.
WITH picked AS MATERIALIZED (
    SELECT id
    FROM forge_job
    WHERE queue_name = :queue_name
        AND status IN (/* use waiting */) AND NOT deferred
        AND NOT EXISTS (
            SELECT 1
            FROM forge_queue
            WHERE name = :queue_name AND (paused OR throttled_until > :now)
        )
    ORDER BY priority, scheduled_at, id
    LIMIT :limit
)
UPDATE forge_job
SET
    status = 'in_progress', attempts = attempts + 1, claims = claims + 1,
    worker_id = :worker_id,
    started_at = :now, heartbeat_at = :now, completed_at = NULL, progress = NULL
WHERE id IN (SELECT id FROM picked)
RETURNING /* use claimed_columns */
/* starts jobs */

-- name: finish
-- The fence: the job still runs, and in this very claim of this worker. COALESCE keeps the
-- planner on the primary key: forge_job_running would read all running jobs for each row.
-- A job that was asked to stop ends here only as done or dead; finish_cancelled ends the
-- others. Each value is parsed out of the JSON where it is used, so v holds what all need
-- and a success, by far the most frequent end, reads little more. With the ids it returns
-- the batch and the ties as one text: each value of a row takes time, and most jobs have
-- neither.
WITH v AS MATERIALIZED (
    SELECT
        value AS run_end,
        json_extract(value, '$.job_id') AS job_id,
        json_extract(value, '$.run') AS run,
        json_extract(value, '$.new_status') AS new_status
    FROM json_each(:rows)
)
UPDATE forge_job
SET
    status = v.new_status,
    attempts = CASE
        WHEN v.new_status = 'done' THEN attempts
        ELSE attempts - json_extract(run_end, '$.rest.uncount')
    END,
    throttle_attempts = CASE
        WHEN v.new_status = 'done' THEN 0
        ELSE throttle_attempts + json_extract(run_end, '$.rest.throttled')
    END,
    scheduled_at = CASE
        WHEN v.new_status IN (/* use final */) THEN scheduled_at
        ELSE COALESCE(:now + json_extract(run_end, '$.rest.delay_us'), scheduled_at)
    END,
    deferred = CASE
        WHEN v.new_status IN (/* use final */) THEN FALSE
        ELSE COALESCE(json_extract(run_end, '$.rest.delay_us') > 0, FALSE)
    END,
    completed_at = CASE WHEN v.new_status IN (/* use final */) THEN :now END,
    -- The run ended dead by itself, so the request had no effect.
    cancel_requested_at = CASE
        WHEN v.new_status <> 'dead' THEN cancel_requested_at
    END,
    last_error = CASE
        WHEN v.new_status = 'done' THEN last_error
        ELSE COALESCE(json_extract(run_end, '$.rest.error'), last_error)
    END,
    error_history = CASE
        WHEN v.new_status = 'done' THEN error_history
        ELSE COALESCE(json_extract(run_end, '$.rest.history'), error_history)
    END,
    result = json_extract(run_end, '$.new_result'),
    result_error = json_extract(run_end, '$.rest.result_error'),
    worker_id = NULL,
    heartbeat_at = NULL,
    signature = CASE
        WHEN v.new_status = 'done' THEN signature
        ELSE COALESCE(json_extract(run_end, '$.rest.new_signature'), signature)
    END
FROM v
WHERE forge_job.id = v.job_id
    AND COALESCE(forge_job.status, '') = 'in_progress'
    AND COALESCE(forge_job.worker_id, '') = :worker_id
    AND forge_job.claims = v.run
    AND (
        forge_job.cancel_requested_at IS NULL OR v.new_status IN (/* use final */)
    )
RETURNING
    forge_job.id,
    CASE
        WHEN forge_job.batch_id IS NULL THEN forge_job.ties
        ELSE forge_job.batch_id || ' ' || COALESCE(forge_job.ties, 0)
    END AS tie

-- name: finish_done
-- The same for jobs that were done at their first claim and returned nothing, which most
-- are. They share all values, so none is parsed for each.
UPDATE forge_job
SET
    status = 'done', throttle_attempts = 0, completed_at = :now,
    result = NULL, result_error = NULL, worker_id = NULL, heartbeat_at = NULL
WHERE id IN (SELECT value FROM json_each(:ids))
    AND COALESCE(status, '') = 'in_progress'
    AND COALESCE(worker_id, '') = :worker_id
    AND claims = 1
RETURNING
    id,
    CASE WHEN batch_id IS NULL THEN ties ELSE batch_id || ' ' || COALESCE(ties, 0) END
