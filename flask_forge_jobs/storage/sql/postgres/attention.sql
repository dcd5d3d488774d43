-- fragment: waits
SELECT queue_name, overdue, waited_s FROM forge_waiting()

-- fragment: ended_runs
-- By part: 0 began within the last hour, 1 is the bucket in which that hour begins, 2 the
-- hour before, 3 the day. Served by forge_metric_time. Rows without a kind sum up those
-- with one.
SELECT
    part, queue_name, kind, SUM(completed) AS completed, SUM(retried) AS retried,
    SUM(dead) AS dead
FROM (
    SELECT
        CASE
            WHEN bucket_start > :edge_at THEN 0
            WHEN bucket_start = :edge_at THEN 1
            ELSE 2
        END AS part,
        queue_name, kind, completed, retried, dead
    FROM forge_metric
    WHERE level = :hour_level AND bucket_start >= :before_at AND kind <> ''
    UNION ALL
    SELECT 3, queue_name, kind, completed, retried, dead
    FROM forge_metric
    WHERE level = :day_level AND bucket_start >= :day_at AND kind <> ''
) AS bucket
GROUP BY part, queue_name, kind
