-- Why a job or a queue does not run: two statements each, so two round trips.

-- name: job_facts
-- The job and the settings of its queue, which may have none.
SELECT job.*, queue.*
FROM (
    SELECT /* use fact_columns */
    FROM forge_job
    WHERE id = :id
) AS job
LEFT JOIN (
    SELECT /* use queue_columns */
    FROM forge_queue
) AS queue ON queue.name = job.queue_name

-- name: job_in_full
-- The same with everything else of the job, and its attempts: for its page, in one read.
SELECT job.*, facts.*, queue.*
FROM (
    SELECT
        /* use job_columns */,
        /* use attempts_and_worker */,
        /* use steps_of_job */,
        /* use ties_of_job */
    FROM forge_job
    WHERE id = :id
) AS job
INNER JOIN (
    SELECT /* use fact_columns */
    FROM forge_job
    WHERE id = :id
) AS facts ON facts.id = job.id
LEFT JOIN (
    SELECT /* use queue_columns */
    FROM forge_queue
) AS queue ON queue.name = job.queue_name

-- name: queue_facts
-- The settings of a queue, its counts, and since when its oldest due job waits. Served by
-- forge_job_claim, two seeks for each priority in use.
WITH RECURSIVE step (priority) AS (
    SELECT MIN(priority)
    FROM forge_job
    WHERE queue_name = :name AND status IN (/* use waiting */) AND NOT deferred
    UNION ALL
    SELECT (
        SELECT MIN(priority)
        FROM forge_job
        WHERE queue_name = :name AND status IN (/* use waiting */) AND NOT deferred
            AND priority > step.priority
    )
    FROM step
    WHERE priority IS NOT NULL
)
SELECT counts.*, oldest.*, queue.*
FROM (
    SELECT /* use queue_columns */
    FROM forge_queue
    WHERE name = :name
) AS queue
CROSS JOIN (
    SELECT
        SUM(CASE WHEN status = 'pending' AND NOT deferred THEN jobs END) AS pending,
        SUM(CASE WHEN status = 'pending' AND deferred THEN jobs END) AS scheduled,
        SUM(CASE WHEN status = 'in_progress' THEN jobs END) AS in_progress,
        SUM(CASE WHEN status = 'done' THEN jobs END) AS done,
        SUM(CASE WHEN status = 'failed' THEN jobs END) AS failed,
        SUM(CASE WHEN status = 'dead' THEN jobs END) AS dead
    FROM forge_job_count
    WHERE queue_name = :name
) AS counts
CROSS JOIN (
    SELECT
        MIN(
            (
                SELECT MIN(scheduled_at)
                FROM forge_job
                WHERE queue_name = :name AND status IN (/* use waiting */)
                    AND NOT deferred AND priority = step.priority
            )
        ) AS due_at
    FROM step
) AS oldest

-- fragment: live
heartbeat_at >= :now - :within_us

-- name: evidence
-- Rows of several sorts, which the first column tells apart.
SELECT
    'now' AS sort, CAST(NULL AS TEXT) AS a, CAST(NULL AS TEXT) AS b,
    CAST(NULL AS TEXT) AS c, CAST(NULL AS TEXT) AS d, CAST(NULL AS TEXT) AS e,
    CAST(:now AS BIGINT) AS n1, CAST(NULL AS BIGINT) AS n2, CAST(NULL AS BIGINT) AS n3,
    CAST(NULL AS BIGINT) AS n4, CAST(NULL AS BIGINT) AS n5, CAST(NULL AS BIGINT) AS n6
UNION ALL
SELECT
    'schema', NULL, NULL, NULL, NULL, NULL,
    version, oldest_reader, NULL, NULL, NULL, NULL
FROM (
    SELECT version, oldest_reader
    FROM forge_schema
    ORDER BY version DESC
    LIMIT 1
) AS newest
UNION ALL
-- The kinds only of a worker that lacks the one that is asked for.
SELECT * FROM (
    SELECT
        CASE WHEN /* use live */ AND lost_at IS NULL THEN 'live' ELSE 'gone' END,
        worker.worker_id, COALESCE(worker_name, worker.worker_id), host, queues,
        CASE
            WHEN LENGTH(REPLACE(kinds, :line, '')) = LENGTH(kinds) THEN kinds
        END,
        heartbeat_at, threads,
        CASE
            WHEN kinds = '' THEN NULL
            ELSE LENGTH(kinds) - LENGTH(REPLACE(kinds, :line, ''))
        END,
        own.slots, busy.jobs, busy.own_jobs
    FROM forge_worker AS worker
    LEFT JOIN (
        SELECT worker_id, COUNT(*) AS slots
        FROM forge_slot
        WHERE queue_name = :queue_name AND /* use live */
        GROUP BY worker_id
    ) AS own ON own.worker_id = worker.worker_id
    LEFT JOIN (
        -- Served by forge_job_running.
        SELECT
            worker_id, COUNT(*) AS jobs,
            COUNT(CASE WHEN queue_name = :queue_name THEN 1 END) AS own_jobs
        FROM forge_job
        WHERE status = 'in_progress'
        GROUP BY worker_id
    ) AS busy ON busy.worker_id = worker.worker_id
    ORDER BY heartbeat_at DESC
    LIMIT 500
) AS worker
UNION ALL
-- Served by forge_job_running.
SELECT
    'running', id, queue_name, kind, worker_id, NULL,
    started_at, NULL, NULL, NULL, NULL, NULL
FROM (
    SELECT id, queue_name, kind, worker_id, started_at
    FROM forge_job
    WHERE status = 'in_progress' AND :is_waiting
    ORDER BY CASE WHEN queue_name = :queue_name THEN 0 ELSE 1 END, started_at
    LIMIT :named
) AS running
UNION ALL
-- Served by forge_job_concurrency.
SELECT
    'holder', id, queue_name, kind, worker_id, NULL,
    started_at, NULL, NULL, NULL, NULL, NULL
FROM (
    SELECT id, queue_name, kind, worker_id, started_at
    FROM forge_job
    WHERE concurrency_key = :concurrency_key AND concurrency_key IS NOT NULL
        AND status = 'in_progress' AND admitted_at = started_at
    LIMIT :named
) AS holder
UNION ALL
-- Served by forge_job_dedupe.
SELECT
    'key_holder', id, queue_name, kind, NULL, NULL, started_at, NULL, NULL, NULL, NULL, NULL
FROM forge_job
WHERE dedupe_key = :dedupe_key AND dedupe_key IS NOT NULL
    AND status IN (/* use unfinished */) AND id <> :id
UNION ALL
-- Served by forge_job_claim.
SELECT 'ahead', NULL, NULL, NULL, NULL, NULL, COUNT(*), NULL, NULL, NULL, NULL, NULL
FROM (
    SELECT id
    FROM forge_job
    WHERE :is_waiting AND queue_name = :queue_name
        AND status IN (/* use waiting */) AND NOT deferred
        AND (priority, scheduled_at, id) < (:priority, :scheduled_at, :id)
    ORDER BY priority, scheduled_at, id
    LIMIT :max_ahead
) AS before
UNION ALL
-- Served by the primary key, as the next one.
SELECT
    'rate', NULL, NULL, NULL, NULL, NULL,
    CAST(SUM(started) AS BIGINT), MIN(bucket_start), NULL, NULL, NULL, NULL
FROM forge_metric
WHERE level = 10 AND queue_name = :queue_name AND kind = ''
    AND bucket_start >= :now - 3600000000
UNION ALL
SELECT
    'run_times', run_times, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM (
    SELECT run_times
    FROM forge_metric
    WHERE level = 10 AND queue_name = :queue_name AND kind = :kind
        AND bucket_start >= :now - 3600000000
    ORDER BY bucket_start DESC
    LIMIT :max_times
) AS run_times
UNION ALL
-- The numbers with a fraction as texts.
SELECT
    'rate_limit', scope, CAST(refill_per_sec AS TEXT), CAST(tokens AS TEXT), NULL, NULL,
    capacity, last_refilled_at, NULL, NULL, NULL, NULL
FROM forge_rate_limit
WHERE scope = :scope
UNION ALL
-- Served by primary keys, as the next one: for what a job waits, or with what it died.
SELECT
    'parent', parent_id, name, queue_name, status, error,
    since, is_batch, NULL, NULL, NULL, NULL
FROM (
    SELECT
        link.parent_id, COALESCE(link.parent_kind, batch.name) AS name,
        parent.queue_name,
        CASE
            WHEN parent.id IS NOT NULL THEN parent.status
            WHEN batch.id IS NULL THEN 'deleted'
            WHEN batch.completed_at IS NULL THEN 'running'
            ELSE 'dead'
        END AS status,
        CASE WHEN parent.status = 'dead' THEN parent.last_error END AS error,
        CASE WHEN parent.status = 'in_progress' THEN parent.started_at END AS since,
        CASE WHEN link.parent_kind IS NULL THEN 1 ELSE 0 END AS is_batch
    FROM forge_link AS link
    LEFT JOIN forge_job AS parent ON parent.id = link.parent_id
    LEFT JOIN forge_batch AS batch ON batch.id = link.parent_id
    WHERE link.child_id = :id
        AND CASE
            WHEN :is_waiting THEN link.ended IS NULL
            ELSE link.ended IN ('dead', 'deleted') AND link.on_dead = 'cancel'
        END
    ORDER BY
        CASE
            WHEN parent.status = 'dead' THEN 0
            WHEN parent.id IS NULL AND batch.id IS NULL THEN 0
            WHEN batch.completed_at IS NOT NULL THEN 0
            ELSE 1
        END,
        link.parent_id
    LIMIT :named
) AS parent
UNION ALL
SELECT
    'batch', id, name, NULL, NULL, NULL, cancel_requested_at, NULL, NULL, NULL, NULL, NULL
FROM forge_batch
WHERE id = :batch_id AND cancel_requested_at IS NOT NULL
UNION ALL
SELECT 'kind', kind, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM (
    SELECT DISTINCT kind
    FROM forge_job_count
    WHERE queue_name IN (SELECT v.name FROM /* rows v: name text */)
) AS own
