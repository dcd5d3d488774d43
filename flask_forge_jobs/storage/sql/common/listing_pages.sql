-- Pages of jobs in one statement each: the key of a job's place and all that is shown of it.
--
-- The jobs of several sources, combinations or queues, are merged. A look at the first few
-- of each tells how far the page can reach; then each source is read as far as that.

-- fragment: newest_combinations
SELECT *, SUM(jobs) OVER () AS total
FROM (/* use filtered_combinations */) AS combinations
ORDER BY newest_at DESC
LIMIT :max_combinations

-- fragment: queues_with_jobs
SELECT queue_name
FROM forge_job_count
WHERE /* use filtered_counts */
GROUP BY queue_name
HAVING SUM(jobs) > 0

-- fragment: jobs_of_page (both ways)
SELECT page_at, /* use summary_columns */
FROM page
CROSS JOIN forge_job
WHERE forge_job.id = page_id
ORDER BY page_at DESC, page_id DESC

-- name: page_by_age (both ways)
-- Served by forge_job_list. It looks at the newest combinations, up to :max_combinations:
-- first at the newest few, which mostly hold the whole page, then at the others that may
-- have jobs as new as theirs. No job beyond all these is newer than unread_at, which is
-- NULL if there are no others. The total is that of queue, kind and status, whatever the
-- bounds. Without a job there is one row. The looks leave the jobs of the start's instant to
-- the page: their order by id would be a sort for each combination.
WITH newest AS (/* use newest_combinations */),
rough AS MATERIALIZED (
    SELECT COALESCE(
        (
            SELECT job.enqueued_at
            FROM (SELECT * FROM newest ORDER BY newest_at DESC LIMIT :few) AS c
            CROSS JOIN LATERAL (
                SELECT enqueued_at, id
                FROM forge_job
                WHERE queue_name = c.queue_name AND kind = c.kind AND status = c.status
                    AND enqueued_at >= :edge AND enqueued_at < (:at)
                ORDER BY enqueued_at DESC
                LIMIT :limit
            ) AS job
            ORDER BY job.enqueued_at DESC
            LIMIT 1 OFFSET :limit - 1
        ),
        :edge
    ) AS edge
),
bound AS MATERIALIZED (
    SELECT COALESCE(
        (
            SELECT job.enqueued_at
            FROM rough AS bound
            CROSS JOIN newest AS c
            CROSS JOIN LATERAL (
                SELECT enqueued_at, id
                FROM forge_job
                WHERE queue_name = c.queue_name AND kind = c.kind AND status = c.status
                    AND enqueued_at >= bound.edge AND enqueued_at < (:at)
                ORDER BY enqueued_at DESC
                LIMIT :chunk
            ) AS job
            WHERE :any_age OR bound.edge <= c.newest_at
            ORDER BY job.enqueued_at DESC
            LIMIT 1 OFFSET :limit - 1
        ),
        edge
    ) AS edge
    FROM rough
),
page AS MATERIALIZED (
    SELECT job.enqueued_at AS page_at, job.id AS page_id
    FROM bound
    CROSS JOIN newest AS c
    CROSS JOIN LATERAL (
        SELECT enqueued_at, id
        FROM forge_job
        WHERE queue_name = c.queue_name AND kind = c.kind AND status = c.status
            AND enqueued_at >= bound.edge AND (enqueued_at, id) < (:at, :id)
        ORDER BY enqueued_at DESC, id DESC
        LIMIT :limit
    ) AS job
    WHERE :any_age OR bound.edge <= c.newest_at
    ORDER BY job.enqueued_at DESC, job.id DESC
    LIMIT :limit
)
SELECT /* prepared */ others.total, others.unread_at, page_at, /* use summary_columns */
FROM (
    SELECT
        MAX(total) AS total,
        CASE WHEN COUNT(*) = :max_combinations THEN MIN(newest_at) END AS unread_at
    FROM newest
) AS others
LEFT JOIN page ON TRUE
LEFT JOIN forge_job ON forge_job.id = page_id
ORDER BY page_at DESC, page_id DESC

-- name: page_by_end (both ways)
-- Served by forge_job_finished.
WITH source AS MATERIALIZED (
    SELECT queue_name, status
    FROM forge_job_count
    WHERE /* use filtered_counts */
    GROUP BY queue_name, status
    HAVING SUM(jobs) > 0
),
bound AS MATERIALIZED (
    SELECT COALESCE(
        (
            SELECT job.completed_at
            FROM source AS c
            CROSS JOIN LATERAL (
                SELECT completed_at, id
                FROM forge_job
                WHERE queue_name = c.queue_name AND status = c.status
                    AND completed_at IS NOT NULL
                    AND completed_at >= :edge AND (completed_at, id) < (:at, :id)
                ORDER BY completed_at DESC, id DESC
                LIMIT :chunk
            ) AS job
            ORDER BY job.completed_at DESC
            LIMIT 1 OFFSET :limit - 1
        ),
        :edge
    ) AS edge
),
page AS MATERIALIZED (
    SELECT job.completed_at AS page_at, job.id AS page_id
    FROM bound
    CROSS JOIN source AS c
    CROSS JOIN LATERAL (
        SELECT completed_at, id
        FROM forge_job
        WHERE queue_name = c.queue_name AND status = c.status
            AND completed_at IS NOT NULL
            AND completed_at >= bound.edge AND (completed_at, id) < (:at, :id)
        ORDER BY completed_at DESC, id DESC
        LIMIT :limit
    ) AS job
    ORDER BY job.completed_at DESC, job.id DESC
    LIMIT :limit
)
/* use jobs_of_page_desc */

-- name: page_deferred (both ways)
-- Served by forge_job_deferred. See listed_deferred for the plus.
WITH source AS MATERIALIZED (/* use queues_with_jobs */),
bound AS MATERIALIZED (
    SELECT COALESCE(
        (
            SELECT job.scheduled_at
            FROM source AS c
            CROSS JOIN LATERAL (
                SELECT scheduled_at, id
                FROM forge_job
                WHERE deferred AND queue_name = c.queue_name AND status = 'pending'
                    AND +scheduled_at > :now
                    AND scheduled_at >= :edge AND (scheduled_at, id) < (:at, :id)
                    AND /* use kind_and_age */
                ORDER BY scheduled_at DESC, id DESC
                LIMIT :chunk
            ) AS job
            ORDER BY job.scheduled_at DESC
            LIMIT 1 OFFSET :limit - 1
        ),
        :edge
    ) AS edge
),
page AS MATERIALIZED (
    SELECT job.scheduled_at AS page_at, job.id AS page_id
    FROM bound
    CROSS JOIN source AS c
    CROSS JOIN LATERAL (
        SELECT scheduled_at, id
        FROM forge_job
        WHERE deferred AND queue_name = c.queue_name AND status = 'pending'
            AND +scheduled_at > :now
            AND scheduled_at >= bound.edge AND (scheduled_at, id) < (:at, :id)
            AND /* use kind_and_age */
        ORDER BY scheduled_at DESC, id DESC
        LIMIT :limit
    ) AS job
    ORDER BY job.scheduled_at DESC, job.id DESC
    LIMIT :limit
)
/* use jobs_of_page_desc */

-- name: page_retrying (both ways)
-- Served by forge_job_retry.
WITH source AS MATERIALIZED (/* use queues_with_jobs */),
bound AS MATERIALIZED (
    SELECT COALESCE(
        (
            SELECT job.scheduled_at
            FROM source AS c
            CROSS JOIN LATERAL (
                SELECT scheduled_at, id
                FROM forge_job
                WHERE queue_name = c.queue_name AND status = 'failed'
                    AND scheduled_at >= :edge AND (scheduled_at, id) < (:at, :id)
                    AND /* use kind_and_age */
                ORDER BY scheduled_at DESC, id DESC
                LIMIT :chunk
            ) AS job
            ORDER BY job.scheduled_at DESC
            LIMIT 1 OFFSET :limit - 1
        ),
        :edge
    ) AS edge
),
page AS MATERIALIZED (
    SELECT job.scheduled_at AS page_at, job.id AS page_id
    FROM bound
    CROSS JOIN source AS c
    CROSS JOIN LATERAL (
        SELECT scheduled_at, id
        FROM forge_job
        WHERE queue_name = c.queue_name AND status = 'failed'
            AND scheduled_at >= bound.edge AND (scheduled_at, id) < (:at, :id)
            AND /* use kind_and_age */
        ORDER BY scheduled_at DESC, id DESC
        LIMIT :limit
    ) AS job
    ORDER BY job.scheduled_at DESC, job.id DESC
    LIMIT :limit
)
/* use jobs_of_page_desc */
