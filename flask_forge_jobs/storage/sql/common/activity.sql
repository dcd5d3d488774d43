-- Events come in no order, so that a read ends at its limit: an order by time and id
-- would sort all jobs of an instant, which may be very many.

-- name: events_within
-- Starts are served by forge_job_running, which holds only running jobs. Enqueued jobs are
-- served by forge_job_list, a range of each combination that may have newer jobs; ends by
-- forge_job_finished, a range of each queue and state.
SELECT *
FROM (
    SELECT started_at, id, queue_name, kind, 'started'
    FROM forge_job
    WHERE :any_start AND status = 'in_progress'
        AND started_at >= :from_at AND started_at < :to_at
        AND /* use of_queues */
        AND /* use of_kinds */
    LIMIT :limit
) AS started
UNION ALL
SELECT *
FROM (
    SELECT job.enqueued_at, job.id, job.queue_name, job.kind, 'enqueued'
    FROM (/* use filtered_combinations */) AS c
    CROSS JOIN forge_job AS job
    WHERE :any_enqueue AND c.newest_at >= :from_at
        AND job.queue_name = c.queue_name AND job.kind = c.kind AND job.status = c.status
        AND job.enqueued_at >= :from_at AND job.enqueued_at < :to_at
    LIMIT :limit
) AS enqueued
UNION ALL
SELECT *
FROM (
    SELECT
        job.completed_at, job.id, job.queue_name, job.kind,
        CASE
            WHEN job.status = 'dead' AND job.cancel_requested_at IS NOT NULL
                THEN 'cancelled'
            ELSE job.status
        END
    FROM (/* use ended_queues */) AS c
    CROSS JOIN forge_job AS job
    WHERE :any_end_state AND job.queue_name = c.queue_name AND job.status = c.status
        AND job.completed_at IS NOT NULL
        AND job.completed_at >= :from_at AND job.completed_at < :to_at
        AND (
            :any_death OR job.status = 'done'
            OR (job.cancel_requested_at IS NOT NULL) = :was_cancelled
        )
        AND (:any_kind OR job.kind IN (SELECT v.name FROM /* rows v: name text = :kinds */))
    LIMIT :limit
) AS ended

-- name: latest_events
-- The newest events in one statement, at most :limit of each sort, as pages of jobs are
-- read: a look at the first few of each source tells how far they can reach, then each
-- source is read as far as that. By time alone, which needs no sort of an instant.
WITH clock AS MATERIALIZED (
    SELECT (:now - :settled_us) / 1000 * 1000 AS until_at
),
combination AS MATERIALIZED (/* use filtered_combinations */),
newest AS MATERIALIZED (
    SELECT * FROM combination WHERE :any_enqueue ORDER BY newest_at DESC LIMIT :max_combinations
),
ending AS MATERIALIZED (/* use ended_queues */),
bound AS MATERIALIZED (
    SELECT clock.until_at, GREATEST(
        COALESCE(
            (
                SELECT job.enqueued_at
                FROM newest AS c
                CROSS JOIN LATERAL (
                    SELECT enqueued_at, id
                    FROM forge_job
                    WHERE queue_name = c.queue_name AND kind = c.kind AND status = c.status
                        AND enqueued_at < clock.until_at
                    ORDER BY enqueued_at DESC
                    LIMIT :chunk
                ) AS job
                ORDER BY job.enqueued_at DESC
                LIMIT 1 OFFSET :limit - 1
            ),
            0
        ),
        COALESCE(
            (
                SELECT job.completed_at
                FROM ending AS c
                CROSS JOIN LATERAL (
                    SELECT completed_at, id
                    FROM forge_job
                    WHERE queue_name = c.queue_name AND status = c.status
                        AND completed_at IS NOT NULL AND completed_at < clock.until_at
                        AND /* use filtered_end */
                    ORDER BY completed_at DESC
                    LIMIT :chunk
                ) AS job
                ORDER BY job.completed_at DESC
                LIMIT 1 OFFSET :limit - 1
            ),
            0
        )
    ) AS edge
    FROM clock
)
SELECT *
FROM (
    SELECT started_at, id, queue_name, kind, 'started'
    FROM forge_job
    WHERE :any_start AND status = 'in_progress'
        AND started_at < (SELECT until_at FROM clock)
        AND /* use of_queues */
        AND /* use of_kinds */
    ORDER BY started_at DESC
    LIMIT :limit
) AS started
UNION ALL
SELECT *
FROM (
    SELECT job.enqueued_at, job.id, c.queue_name, c.kind, 'enqueued'
    FROM bound
    CROSS JOIN combination AS c
    CROSS JOIN LATERAL (
        SELECT enqueued_at, id
        FROM forge_job
        WHERE queue_name = c.queue_name AND kind = c.kind AND status = c.status
            AND enqueued_at >= bound.edge AND enqueued_at < bound.until_at
        ORDER BY enqueued_at DESC
        LIMIT :limit
    ) AS job
    WHERE :any_enqueue AND c.newest_at >= bound.edge
    ORDER BY job.enqueued_at DESC
    LIMIT :limit
) AS enqueued
UNION ALL
SELECT *
FROM (
    SELECT
        job.completed_at, job.id, c.queue_name, job.kind,
        CASE
            WHEN c.status = 'dead' AND job.cancel_requested_at IS NOT NULL THEN 'cancelled'
            ELSE c.status
        END
    FROM bound
    CROSS JOIN ending AS c
    CROSS JOIN LATERAL (
        SELECT completed_at, kind, cancel_requested_at, id
        FROM forge_job
        WHERE queue_name = c.queue_name AND status = c.status
            AND completed_at IS NOT NULL
            AND completed_at >= bound.edge AND completed_at < bound.until_at
            AND /* use filtered_end */
        ORDER BY completed_at DESC
        LIMIT :limit
    ) AS job
    ORDER BY job.completed_at DESC
    LIMIT :limit
) AS ended

-- fragment: ended_queues
SELECT queue_name, status
FROM forge_job_count
WHERE status IN (SELECT v.name FROM /* rows v: name text = :ends */)
    AND /* use of_kinds */
    AND /* use of_queues */
GROUP BY queue_name, status
HAVING SUM(jobs) > 0

-- name: started_first
SELECT MIN(started_at)
FROM forge_job
WHERE status = 'in_progress' AND started_at >= :from_at
    AND /* use of_queues */
    AND /* use of_kinds */

-- name: enqueued_first
-- Served by forge_job_list: the first instant of each combination.
SELECT MIN((
    SELECT MIN(enqueued_at)
    FROM forge_job
    WHERE queue_name = c.queue_name AND kind = c.kind AND status = c.status
        AND enqueued_at >= :from_at
))
FROM (/* use filtered_combinations */) AS c
WHERE c.newest_at >= :from_at

-- name: ended_first
-- Served by forge_job_finished: likewise of each queue and state.
SELECT MIN((
    SELECT MIN(completed_at)
    FROM forge_job
    WHERE queue_name = c.queue_name AND status = c.status
        AND completed_at IS NOT NULL AND completed_at >= :from_at
        AND /* use filtered_end */
))
FROM (/* use ended_queues */) AS c

-- fragment: filtered_end
(
    :any_death OR status = 'done'
    OR (cancel_requested_at IS NOT NULL) = :was_cancelled
)
    AND /* use of_kinds */

-- name: ended_lately
-- Served by forge_job_finished, a range of each queue. Without cancelled jobs.
SELECT c.of_queue, (
    SELECT COUNT(*)
    FROM forge_job
    WHERE queue_name = c.of_queue AND status = :status
        AND completed_at IS NOT NULL AND completed_at >= :now - :age_us
        AND (status = 'done' OR cancel_requested_at IS NULL)
)
FROM /* rows c: of_queue text */
