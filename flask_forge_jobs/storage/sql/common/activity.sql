-- name: begun
-- Served by forge_job_running, which holds only running jobs.
SELECT started_at, id
FROM forge_job
WHERE status = 'in_progress' AND started_at >= :from_at AND started_at < :to_at
ORDER BY started_at, id

-- name: failures
-- A summary needs only the beginning of the error.
SELECT
    id, queue_name, kind, SUBSTR(last_error, 1, 500),
    COALESCE(completed_at, started_at, enqueued_at)
FROM forge_job
INNER JOIN /* rows v: job_id text */
    ON forge_job.id = v.job_id

-- name: ended_lately
-- Served by forge_job_finished, a range of each queue.
SELECT c.of_queue, (
    SELECT COUNT(*)
    FROM forge_job
    WHERE queue_name = c.of_queue AND status = :status
        AND completed_at IS NOT NULL AND completed_at >= :now - :age_us
)
FROM /* rows c: of_queue text */
