-- The jobs that schedules made. Served by forge_job_schedule.

-- fragment: run_columns
    job.id, job.queue_name, job.kind, job.status, job.fire_at, job.enqueued_at,
    job.started_at, job.completed_at, job.attempts, job.last_error,
    CASE WHEN job.status = 'in_progress' THEN job.progress END

-- name: first_schedules
-- One after the other while there is room for another payload, each of which may have
-- 1 MiB; and their newest jobs, by two look-ups for each.
WITH RECURSIVE line (name, room, number) AS (
    SELECT MIN(name), CAST(:room AS BIGINT), 1
    FROM forge_cron
    UNION ALL
    SELECT
        (SELECT MIN(name) FROM forge_cron WHERE name > line.name),
        line.room - LENGTH(own.payload), line.number + 1
    FROM line
    INNER JOIN forge_cron AS own ON own.name = line.name
    WHERE line.room > LENGTH(own.payload) AND line.number < :limit
),
listed AS MATERIALIZED (
    SELECT
        name, number,
        CASE WHEN :with_runs THEN (
            SELECT id
            FROM forge_job
            WHERE schedule_name = line.name
            ORDER BY enqueued_at DESC, id DESC
            LIMIT 1
        ) END AS last_id
    FROM line
)
SELECT
    schedule.*,
    /* use run_columns */
FROM listed
INNER JOIN (
    SELECT /* use schedule_columns */
    FROM forge_cron
) AS schedule ON schedule.name = listed.name
LEFT JOIN forge_job AS job ON job.id = listed.last_id
ORDER BY listed.number

-- name: schedule_lines
-- Two look-ups by index for each schedule. Payloads are left out: each may have 1 MiB.
WITH line AS MATERIALIZED (
    SELECT
        name, kind, queue_name, cron_expr, timezone, enabled, next_fire_at, last_error,
        (
            SELECT id
            FROM forge_job
            WHERE schedule_name = forge_cron.name
            ORDER BY enqueued_at DESC, id DESC
            LIMIT 1
        ) AS last_id
    FROM forge_cron
    ORDER BY name
    LIMIT :limit
)
SELECT
    line.name, line.kind, line.queue_name, line.cron_expr, line.timezone, line.enabled,
    line.next_fire_at, line.last_error,
    /* use run_columns */
FROM line
LEFT JOIN forge_job AS job ON job.id = line.last_id
ORDER BY line.name

-- name: fired_within
-- The newest of each schedule; the look-up of the oldest of them walks its part of the
-- index for so many entries. SQLite does not turn a cross join around, and so never scans
-- the jobs of all schedules.
WITH line AS MATERIALIZED (
    SELECT
        v.name,
        COALESCE(
            (
                SELECT enqueued_at
                FROM forge_job
                WHERE schedule_name = v.name
                    AND enqueued_at >= :from_at AND enqueued_at < :to_at
                ORDER BY enqueued_at DESC
                LIMIT 1 OFFSET :offset
            ),
            :from_at
        ) AS first_at
    FROM /* rows v: name text */
)
SELECT line.name, job.enqueued_at, job.id, job.status
FROM line
CROSS JOIN forge_job AS job
WHERE job.schedule_name = line.name
    AND job.enqueued_at >= line.first_at AND job.enqueued_at < :to_at
ORDER BY line.name, job.enqueued_at DESC, job.id DESC
LIMIT :limit

-- name: runs_of_schedule
SELECT
    /* use run_columns */
FROM forge_job AS job
WHERE job.schedule_name = :name
    AND (job.enqueued_at, job.id) < (:at, :id)
ORDER BY job.enqueued_at DESC, job.id DESC
LIMIT :limit
