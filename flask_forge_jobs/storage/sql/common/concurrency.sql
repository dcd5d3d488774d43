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
