-- What PostgreSQL keeps as functions: their plans take longer to make than to run.

-- name: overdue
-- Served by forge_job_deferred, a range of each queue: pending jobs whose time has come
-- but that no worker has looked at yet; they count as due.
SELECT
    queue_name,
    (
        SELECT COUNT(*)
        FROM forge_job
        WHERE deferred AND queue_name = known.queue_name
            AND scheduled_at <= :now AND status = 'pending'
    )
FROM (SELECT DISTINCT queue_name FROM forge_job_count) AS known

-- name: oldest_due
-- Served by forge_job_claim, two seeks for each priority in use, and forge_job_deferred:
-- microseconds that each queue's oldest due job has waited.
WITH RECURSIVE step (name, priority) AS (
    SELECT
        name,
        (
            SELECT MIN(priority)
            FROM forge_job
            WHERE queue_name = forge_queue.name
                AND status IN ('pending', 'failed') AND NOT deferred
        )
    FROM forge_queue
    UNION ALL
    SELECT
        name,
        (
            SELECT MIN(priority)
            FROM forge_job
            WHERE queue_name = step.name
                AND status IN ('pending', 'failed') AND NOT deferred
                AND priority > step.priority
        )
    FROM step
    WHERE priority IS NOT NULL
)
SELECT name, :now - MIN(first_at)
FROM (
    SELECT
        name,
        (
            SELECT MIN(scheduled_at)
            FROM forge_job
            WHERE queue_name = step.name
                AND status IN ('pending', 'failed') AND NOT deferred
                AND priority = step.priority
        ) AS first_at
    FROM step
    UNION ALL
    SELECT
        name,
        (
            SELECT MIN(scheduled_at)
            FROM forge_job
            WHERE deferred AND queue_name = forge_queue.name
        )
    FROM forge_queue
) AS waiting
GROUP BY name
HAVING MIN(first_at) <= :now
