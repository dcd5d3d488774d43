-- fragment: waits
-- Several rows a queue: the number of due jobs that no worker has promoted yet, and the
-- whole seconds that the oldest has waited. Served by forge_job_claim, two seeks for each
-- priority in use, and forge_job_deferred.
SELECT name AS queue_name, 0 AS overdue, (:now - first_at) / 1000000 AS waited_s
FROM (
    WITH RECURSIVE step (name, priority) AS (
        SELECT
            name,
            (
                SELECT MIN(priority)
                FROM forge_job
                WHERE queue_name = forge_queue.name
                    AND status IN (/* use waiting */) AND NOT deferred
            )
        FROM forge_queue
        UNION ALL
        SELECT
            name,
            (
                SELECT MIN(priority)
                FROM forge_job
                WHERE queue_name = step.name
                    AND status IN (/* use waiting */) AND NOT deferred
                    AND priority > step.priority
            )
        FROM step
        WHERE priority IS NOT NULL
    )
    SELECT
        name,
        (
            SELECT MIN(scheduled_at)
            FROM forge_job
            WHERE queue_name = step.name
                AND status IN (/* use waiting */) AND NOT deferred
                AND priority = step.priority
        ) AS first_at
    FROM step
    WHERE priority IS NOT NULL
)
UNION ALL
SELECT
    name,
    (
        SELECT COUNT(*)
        FROM forge_job
        WHERE deferred AND queue_name = late.name AND scheduled_at <= :now
            AND status = 'pending'
    ),
    (:now - first_at) / 1000000
FROM (
    SELECT
        name,
        (
            SELECT MIN(scheduled_at)
            FROM forge_job
            WHERE deferred AND queue_name = forge_queue.name AND scheduled_at <= :now
        ) AS first_at
    FROM forge_queue
) AS late
WHERE first_at IS NOT NULL

-- name: snapshot
-- Everything for the overview in one statement, as arrays of arrays.
SELECT
    (
        SELECT json_group_array(json_array(/* use queue_columns */))
        FROM (SELECT * FROM forge_queue ORDER BY name)
    ),
    (
        SELECT json_group_array(json_array(queue_name, status, deferred, jobs))
        FROM (/* use counts_of_queues */)
    ),
    (
        SELECT json_group_array(json_array(queue_name, overdue, waited_s))
        FROM (/* use waits */)
    ),
    (
        SELECT json_group_array(
            json_array(
                slot_id, queue_name, worker_id, started_at, heartbeat_at, current_job
            )
        )
        FROM (
            SELECT *
            FROM forge_slot
            WHERE heartbeat_at >= :now - :within_us
            ORDER BY queue_name, slot_id
        )
    ),
    (SELECT json_group_array(name) FROM forge_queue WHERE throttled_until > :now)
