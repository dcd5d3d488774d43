-- Concurrency limits: how many jobs of a key may run at once.

-- name: release_waiters
-- Served by forge_job_concurrency_waiting: makes the first waiting jobs due. A job whose
-- worker has died since waits for its retry instead.
WITH next AS MATERIALIZED (
    SELECT id
    FROM forge_job
    WHERE deferred AND concurrency_key = :concurrency_key AND admitted_at IS NULL
        AND status = 'pending'
    ORDER BY priority, id
    LIMIT :freed
    /* skip_locked */
)
UPDATE forge_job
SET
    deferred = FALSE,
    scheduled_at = CASE WHEN scheduled_at > :now THEN :now ELSE scheduled_at END
WHERE deferred AND id IN (SELECT id FROM next)
RETURNING queue_name

-- name: concurrency_holders
-- Served by forge_job_concurrency: the jobs that run within the limit of their key.
SELECT concurrency_key, id, queue_name, kind, worker_id, started_at
FROM forge_job
WHERE concurrency_key IS NOT NULL AND status = 'in_progress' AND admitted_at = started_at
ORDER BY concurrency_key, started_at
LIMIT :limit

-- name: concurrency_waiters
-- Served by forge_job_concurrency_waiting: how many jobs wait for each key.
SELECT concurrency_key, COUNT(*)
FROM (
    SELECT concurrency_key
    FROM forge_job
    WHERE status = 'pending' AND deferred AND concurrency_key IS NOT NULL
        AND admitted_at IS NULL
    LIMIT :limit
) AS waiting
GROUP BY concurrency_key
