-- fragment: ended_runs
-- As on PostgreSQL, for the kinds with a run in part 0 or 1. These are read from
-- forge_metric_time, which holds their names, and their rows by one range of the primary
-- key each: to search for each row takes twice as long.
WITH active AS (
    -- Not the plain columns, or SQLite walks the primary key to spare itself the sorting.
    SELECT queue_name || '' AS queue_name, kind || '' AS kind
    FROM forge_metric
    WHERE level = :hour_level AND bucket_start >= :edge_at AND kind <> ''
    GROUP BY 1, 2
)

SELECT
    part, queue_name, kind, SUM(completed) AS completed, SUM(retried) AS retried,
    SUM(dead) AS dead
FROM (
    SELECT
        CASE
            WHEN m.bucket_start > :edge_at THEN 0
            WHEN m.bucket_start = :edge_at THEN 1
            ELSE 2
        END AS part,
        m.queue_name, m.kind, m.completed, m.retried, m.dead
    FROM active
    CROSS JOIN forge_metric AS m
    WHERE m.level = :hour_level AND m.queue_name = active.queue_name
        AND m.kind = active.kind AND m.bucket_start >= :before_at
    UNION ALL
    SELECT 3, m.queue_name, m.kind, m.completed, m.retried, m.dead
    FROM active
    CROSS JOIN forge_metric AS m
    WHERE m.level = :day_level AND m.queue_name = active.queue_name
        AND m.kind = active.kind AND m.bucket_start >= :day_at
) AS bucket
GROUP BY part, queue_name, kind
