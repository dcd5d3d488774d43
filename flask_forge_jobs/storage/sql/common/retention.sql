-- name: retention_periods
-- Registered queues, and queue names that only jobs have.
SELECT
    names.name,
    COALESCE(queue.retain_done_for_days, :done_days),
    COALESCE(queue.retain_dead_for_days, :dead_days)
FROM (
    SELECT name
    FROM forge_queue
    UNION
    SELECT queue_name
    FROM forge_job_count
    GROUP BY queue_name
    HAVING SUM(jobs) > 0
) AS names
LEFT JOIN forge_queue AS queue ON queue.name = names.name
WHERE :any_queue OR names.name = :queue_name
ORDER BY names.name

-- fragment: open_batches
-- Served by forge_batch_open: their jobs stay, however long ago they ended.
SELECT id FROM forge_batch WHERE completed_at IS NULL

-- name: delete_expired
-- Served by forge_job_finished. Skips rows that another transaction has locked.
WITH expired AS MATERIALIZED (
    SELECT id
    FROM forge_job
    WHERE queue_name = :queue_name AND status = :status
        AND completed_at IS NOT NULL AND completed_at <= :now - :age_us
        AND (batch_id IS NULL OR batch_id NOT IN (/* use open_batches */))
    ORDER BY completed_at
    LIMIT :limit
    /* skip_locked */
)
DELETE FROM forge_job
WHERE status = :status AND id IN (SELECT id FROM expired)
RETURNING id, batch_id, ties, status

-- name: count_expired
-- Served by forge_job_finished.
SELECT COUNT(*)
FROM forge_job
WHERE queue_name = :queue_name AND status = :status
    AND completed_at IS NOT NULL AND completed_at <= :now - :age_us
    AND (batch_id IS NULL OR batch_id NOT IN (/* use open_batches */))
