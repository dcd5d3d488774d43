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
