-- Reading: nothing here writes, and nothing scans finished jobs.

-- name: get_job
SELECT
    id, queue_name, kind, payload, status, priority, attempts, max_attempts,
    enqueued_at, scheduled_at, started_at, completed_at, last_error, error_history,
    process_id, heartbeat_at, dedupe_key, cancel_requested_at, throttle_attempts,
    crashes, timeout_s, result, progress, schedule_name
FROM forge_job
WHERE id = :id

-- name: get_jobs
SELECT
    id, queue_name, kind, payload, status, priority, attempts, max_attempts,
    enqueued_at, scheduled_at, started_at, completed_at, last_error, error_history,
    process_id, heartbeat_at, dedupe_key, cancel_requested_at, throttle_attempts,
    crashes, timeout_s, result, progress, schedule_name
FROM forge_job
INNER JOIN /* rows v: job_id text */
    ON forge_job.id = v.job_id

-- name: queues_of_jobs
SELECT id, queue_name
FROM forge_job
INNER JOIN /* rows v: job_id text */
    ON forge_job.id = v.job_id

-- name: counts
-- A few rows for each combination, however many jobs there are.
SELECT queue_name, kind, status, deferred, SUM(jobs)
FROM forge_job_count
GROUP BY queue_name, kind, status, deferred
HAVING SUM(jobs) > 0
ORDER BY queue_name, kind, status, deferred

-- name: counts_of_queues
SELECT queue_name, status, deferred, SUM(jobs)
FROM forge_job_count
GROUP BY queue_name, status, deferred
HAVING SUM(jobs) > 0

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

-- name: page_of_combination
-- Served by forge_job_list: the newest ids of one queue, kind and status.
SELECT enqueued_at, id
FROM forge_job
WHERE queue_name = :queue_name AND kind = :kind AND status = :status
    AND enqueued_at >= :from_at AND enqueued_at <= :to_at
ORDER BY enqueued_at DESC, id DESC
LIMIT :limit

-- name: newest_of_combinations
-- Served by forge_job_list: when the newest job of each combination came.
SELECT
    v.queue_name, v.kind, v.status,
    (
        SELECT MAX(enqueued_at)
        FROM forge_job
        WHERE queue_name = v.queue_name AND kind = v.kind AND status = v.status
            AND enqueued_at >= :from_at AND enqueued_at <= :to_at
    )
FROM /* rows v: queue_name text, kind text, status text */

-- name: count_inside
-- Served by forge_job_list, a range of each combination, at most :most of each.
SELECT (
    SELECT COUNT(*)
    FROM (
        SELECT 1 AS one
        FROM forge_job
        WHERE queue_name = v.queue_name AND kind = v.kind AND status = v.status
            AND enqueued_at >= :from_at AND enqueued_at <= :to_at
        LIMIT :most
    ) AS inside
)
FROM /* rows v: queue_name text, kind text, status text */

-- name: count_outside
-- Served by forge_job_list, the two ends of each combination, at most :most of each.
SELECT
    (
        SELECT COUNT(*)
        FROM (
            SELECT 1 AS one
            FROM forge_job
            WHERE queue_name = v.queue_name AND kind = v.kind AND status = v.status
                AND enqueued_at < :from_at
            LIMIT :most
        ) AS before
    ),
    (
        SELECT COUNT(*)
        FROM (
            SELECT 1 AS one
            FROM forge_job
            WHERE queue_name = v.queue_name AND kind = v.kind AND status = v.status
                AND enqueued_at > :to_at
            LIMIT :most
        ) AS after
    )
FROM /* rows v: queue_name text, kind text, status text */

-- name: page_by_scan
-- Walks all jobs; for a search in payloads, whose total takes a walk anyway, and for
-- pages so deep that merging does not pay.
SELECT enqueued_at, id
FROM forge_job
WHERE enqueued_at >= :from_at AND enqueued_at <= :to_at
    AND (:any_queue OR queue_name IN (SELECT v.name FROM /* rows v: name text = :queues */))
    AND (:any_kind OR kind IN (SELECT v.name FROM /* rows v: name text = :kinds */))
    AND (:any_status OR status IN (SELECT v.name FROM /* rows v: name text = :statuses */))
    AND (:any_payload OR LOWER(payload) LIKE :pattern ESCAPE '\')
ORDER BY enqueued_at DESC, id DESC
LIMIT :limit OFFSET :offset

-- name: count_by_scan
SELECT COUNT(*)
FROM forge_job
WHERE enqueued_at >= :from_at AND enqueued_at <= :to_at
    AND (:any_queue OR queue_name IN (SELECT v.name FROM /* rows v: name text = :queues */))
    AND (:any_kind OR kind IN (SELECT v.name FROM /* rows v: name text = :kinds */))
    AND (:any_status OR status IN (SELECT v.name FROM /* rows v: name text = :statuses */))
    AND (:any_payload OR LOWER(payload) LIKE :pattern ESCAPE '\')

-- name: scheduled
-- Served by forge_job_deferred: the first jobs of a queue that start later.
SELECT scheduled_at, id
FROM forge_job
WHERE deferred AND status = 'pending' AND queue_name = :queue_name
    AND scheduled_at > :now
ORDER BY scheduled_at, id
LIMIT :limit OFFSET :offset

-- name: scheduled_by_sort
-- Served by forge_job_deferred, a range of each queue, sorted as a whole: for a page so
-- deep that merging the queues would read as much.
SELECT scheduled_at, id
FROM forge_job
WHERE deferred AND status = 'pending' AND scheduled_at > :now
    AND queue_name IN (SELECT v.name FROM /* rows v: name text */)
ORDER BY scheduled_at, id
LIMIT :limit OFFSET :offset
