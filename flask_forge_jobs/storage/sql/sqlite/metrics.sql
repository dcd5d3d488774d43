-- name: try_lock
-- SQLite has one writer at a time.
SELECT :lock_key IS NOT NULL

-- name: wait_for_lock
SELECT :lock_key IS NOT NULL

-- name: append_metrics
-- Of buckets that have no figures.
INSERT INTO forge_metric (/* use metric_columns */)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: append_gauges
INSERT INTO forge_gauge (/* use gauge_columns */) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)

-- fragment: figures_of_active_kinds
-- The index alone finds the rows: SQLite looks up each one of the window otherwise, which
-- takes five times as long.
(
    SELECT queue_name, kind, bucket_start, source
    FROM forge_metric
    WHERE /* use is_active_kind */
) AS k
CROSS JOIN forge_metric AS m
WHERE m.level = :level AND m.queue_name = k.queue_name AND m.kind = k.kind
    AND m.bucket_start = k.bucket_start AND m.source = k.source
