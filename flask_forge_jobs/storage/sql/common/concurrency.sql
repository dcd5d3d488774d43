-- Concurrency limits: how many jobs of a key may run at once.

-- fragment: waits_for_key
deferred AND concurrency_key = :concurrency_key AND admitted_at IS NULL
    AND status = 'pending'

-- name: release_waiters
-- Served by forge_job_concurrency_waiting: makes the first waiting jobs due, and as many of
-- queues that are open, because the others cannot start now. A job whose worker has died
-- since waits for its retry instead. The count has both read before the first is written.
WITH next AS MATERIALIZED (
    SELECT id
    FROM forge_job
    WHERE /* use waits_for_key */
    ORDER BY priority, id
    LIMIT :freed
    /* skip_locked */
),

startable AS MATERIALIZED (
    SELECT id
    FROM forge_job
    WHERE /* use waits_for_key */
        AND NOT EXISTS (
            SELECT 1
            FROM forge_queue
            WHERE name = forge_job.queue_name AND (paused OR throttled_until > :now)
        )
    ORDER BY priority, id
    LIMIT :freed
    /* skip_locked */
)

UPDATE forge_job
SET
    deferred = FALSE,
    scheduled_at = CASE WHEN scheduled_at > :now THEN :now ELSE scheduled_at END
WHERE deferred AND id IN (SELECT id FROM next UNION ALL SELECT id FROM startable)
    AND (SELECT COUNT(*) FROM startable) >= 0
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
