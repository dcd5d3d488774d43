-- Reads of jobs; none scans finished jobs.

-- fragment: runner
-- The slot that runs a job, or the worker until a slot has reported it. Costs nothing for
-- jobs that do not run.
COALESCE(
    CASE
        WHEN worker_id IS NOT NULL THEN (
            SELECT MIN(slot.slot_id)
            FROM forge_slot AS slot
            WHERE slot.queue_name = forge_job.queue_name
                AND slot.worker_id = forge_job.worker_id
                AND slot.current_job = forge_job.id
        )
    END,
    worker_id
)

-- name: get_job
SELECT /* use job_columns */
FROM forge_job
WHERE id = :id

-- fragment: attempts_and_worker
-- What the attempts of a job are made of.
claims, worker_id,
(
    SELECT worker_name
    FROM forge_worker
    WHERE forge_worker.worker_id = forge_job.worker_id
),
(
    SELECT host
    FROM forge_worker
    WHERE forge_worker.worker_id = forge_job.worker_id
),
/* use attempts_of_job */

-- fragment: attempts_of_job
-- The attempts of a job as JSON text, in no order; NULL or an empty list without one.
CAST(
    (
        SELECT JSON_LIST(
            JSON_ROW(
                run, attempt, due_at, started_at, ended_at, worker_id, worker_name, host,
                slot, ending, error, traceback, signature
            )
        )
        FROM forge_attempt
        WHERE job_id = forge_job.id
    ) AS TEXT
)

-- name: get_job_with_attempts
SELECT
    /* use job_columns */,
    /* use attempts_and_worker */,
    /* use steps_of_job */,
    /* use ties_of_job */
FROM forge_job
WHERE id = :id

-- name: get_summaries
SELECT /* use summary_columns */
FROM forge_job
INNER JOIN /* rows v: job_id text */
    ON forge_job.id = v.job_id

-- name: queues_of_jobs
SELECT id, queue_name
FROM forge_job
INNER JOIN /* rows v: job_id text */
    ON forge_job.id = v.job_id

-- name: counts
-- Reads a few rows for each combination, however many jobs there are.
SELECT queue_name, kind, status, deferred, SUM(jobs)
FROM forge_job_count
GROUP BY queue_name, kind, status, deferred
HAVING SUM(jobs) > 0
ORDER BY queue_name, kind, status, deferred

-- name: counts_within
-- The same of some queues, so that the kinds of others do not slow down the reader.
SELECT queue_name, kind, status, deferred, SUM(jobs)
FROM forge_job_count
WHERE queue_name IN (SELECT v.name FROM /* rows v: name text = :queues */)
GROUP BY queue_name, kind, status, deferred
HAVING SUM(jobs) > 0
ORDER BY queue_name, kind, status, deferred

-- name: stored_kinds
SELECT kind
FROM forge_job_count
GROUP BY kind
HAVING SUM(jobs) > 0

-- name: named_kinds
-- Those of schedules, too: each of them may have jobs at any time.
SELECT kind
FROM forge_job_count
GROUP BY kind
HAVING SUM(jobs) > 0
UNION
SELECT kind
FROM forge_cron

-- name: stored_jobs
SELECT COALESCE(SUM(jobs), 0)
FROM forge_job_count

-- fragment: counts_of_queues
SELECT queue_name, status, deferred, SUM(jobs) AS jobs
FROM forge_job_count
GROUP BY queue_name, status, deferred
HAVING SUM(jobs) > 0
