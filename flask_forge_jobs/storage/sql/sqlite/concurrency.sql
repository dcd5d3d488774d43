-- name: acquire_concurrency
-- Served by forge_job_concurrency. SQLite has one writer at a time, so no lock is needed.
UPDATE forge_job
SET
    concurrency_key = :concurrency_key,
    admitted_at = CASE
        WHEN (
            SELECT COUNT(*)
            FROM forge_job AS other
            WHERE other.concurrency_key = :concurrency_key AND other.status = 'in_progress'
                AND other.admitted_at = other.started_at AND other.id <> :job_id
        ) < :max_concurrent
            THEN started_at
    END
WHERE id = :job_id
    AND COALESCE(status, '') = 'in_progress'
    AND COALESCE(worker_id, '') = :worker_id
    AND claims = :run
-- Not IS NOT NULL, which SQLite before 3.41 always evaluates to true here.
RETURNING admitted_at
