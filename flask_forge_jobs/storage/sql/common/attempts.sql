-- Attempts: the runs of jobs that ended, but for jobs that were done at the first one.

-- name: store_attempts
-- In the transaction that ends the runs. A job that is done has a row for its last attempt
-- only beside earlier ones. Without an end, the worker is lost, and the run ends now.
INSERT INTO forge_attempt (
    job_id, run, attempt, due_at, started_at, ended_at, worker_id, worker_name, host,
    slot, ending, error, traceback, signature
)
SELECT
    v.job_id, v.run, v.attempt, v.due_at, v.started_at, COALESCE(v.ended_at, :now),
    v.worker_id, worker.worker_name, worker.host,
    v.slot, v.ending, v.error, v.traceback, v.signature
FROM /* rows v: job_id text, run integer, attempt integer, due_at bigint, started_at bigint, ended_at bigint, worker_id text, slot integer, ending text, error text, traceback text, signature text */
LEFT JOIN forge_worker AS worker ON worker.worker_id = v.worker_id
WHERE v.ending <> 'done'
    OR EXISTS (SELECT 1 FROM forge_attempt AS earlier WHERE earlier.job_id = v.job_id)
ON CONFLICT (job_id, run) DO NOTHING

-- name: drop_attempts
-- Keeps the first and the newest of each job.
DELETE FROM forge_attempt
WHERE job_id IN (SELECT v.job_id FROM /* rows v: job_id text */)
    AND run > (
        SELECT MIN(run)
        FROM forge_attempt AS first
        WHERE first.job_id = forge_attempt.job_id
    )
    AND run < (
        SELECT run
        FROM forge_attempt AS newest
        WHERE newest.job_id = forge_attempt.job_id
        ORDER BY run DESC
        LIMIT 1 OFFSET :offset
    )
