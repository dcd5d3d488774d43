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

-- fragment: names_of_parts
SELECT DISTINCT n.queue_name, n.kind
FROM /* rows q: step integer, from_at bigint, to_at bigint = :parts */
CROSS JOIN forge_metric AS n
WHERE n.level = q.step AND n.bucket_start >= q.from_at AND n.bucket_start < q.to_at
    AND n.queue_name <> ''
    AND (:any_queue OR n.queue_name IN (SELECT v.name FROM /* rows v: name text = :queues */))

-- fragment: figures_of_names
-- The index alone gives the names with figures. Their rows are neighbours in the primary key:
-- to look each row of the index up takes three to five times as long.
AS k
CROSS JOIN /* rows p: step integer, from_at bigint, to_at bigint = :parts */
CROSS JOIN forge_metric AS m
WHERE m.level = p.step AND m.queue_name = k.queue_name AND m.kind = k.kind
    AND m.bucket_start >= p.from_at AND m.bucket_start < p.to_at

-- name: kinds_within
SELECT
    m.kind, m.started, m.retried, m.completed, m.dead, m.cancelled, m.run_times
FROM (/* use names_of_parts */ AND n.kind <> '') /* use figures_of_names */

-- name: queues_within
SELECT
    m.queue_name, m.started, m.retried, m.completed, m.dead, m.cancelled, m.run_times
FROM (/* use names_of_parts */ AND n.kind = '') /* use figures_of_names */
