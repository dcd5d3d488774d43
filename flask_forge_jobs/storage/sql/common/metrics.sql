-- fragment: metric_columns
level, queue_name, kind, bucket_start, source,
enqueued, started, retried, completed, dead, refused, cancelled,
wait_times, run_times, total_times

-- fragment: metric_rows
/* rows v: level integer, queue_name text, kind text, bucket_start bigint, enqueued bigint, started bigint, retried bigint, completed bigint, dead bigint, refused bigint, cancelled bigint, wait_times text, run_times text, total_times text */

-- name: put_metrics
INSERT INTO forge_metric (/* use metric_columns */)
SELECT
    v.level, v.queue_name, v.kind, v.bucket_start, :source,
    v.enqueued, v.started, v.retried, v.completed, v.dead, v.refused,
    v.cancelled,
    v.wait_times, v.run_times, v.total_times
FROM /* use metric_rows */
WHERE TRUE
ON CONFLICT (level, queue_name, kind, bucket_start, source) DO UPDATE SET
    enqueued = excluded.enqueued,
    started = excluded.started,
    retried = excluded.retried,
    completed = excluded.completed,
    dead = excluded.dead,
    refused = excluded.refused,
    cancelled = excluded.cancelled,
    wait_times = excluded.wait_times,
    run_times = excluded.run_times,
    total_times = excluded.total_times

-- name: overwrite_metrics
-- Skips folded rows: their figures would count twice. The subquery keeps from
-- PostgreSQL's planner that the source is not empty. It would take forge_metric_unfolded,
-- and read the rows of all processes.
UPDATE forge_metric
SET
    enqueued = v.enqueued,
    started = v.started,
    retried = v.retried,
    completed = v.completed,
    dead = v.dead,
    refused = v.refused,
    cancelled = v.cancelled,
    wait_times = v.wait_times,
    run_times = v.run_times,
    total_times = v.total_times
FROM /* use metric_rows */
WHERE forge_metric.level = v.level
    AND forge_metric.queue_name = v.queue_name
    AND forge_metric.kind = v.kind
    AND forge_metric.bucket_start = v.bucket_start
    AND forge_metric.source = (SELECT :source)
RETURNING
    forge_metric.level, forge_metric.bucket_start, forge_metric.queue_name,
    forge_metric.kind

-- fragment: is_named
queue_name IN (SELECT v.name FROM /* rows v: name text */)

-- name: timeline
-- Served by the primary key: one range for each name.
SELECT
    queue_name, bucket_start, enqueued, started, retried, completed, dead, cancelled,
    wait_times, run_times, total_times
FROM forge_metric
WHERE level = :level AND kind = :kind
    AND /* use is_named */
    AND bucket_start >= :from_at AND bucket_start < :to_at

-- name: pace
-- The same without the figures that lists of queues leave out.
SELECT queue_name, bucket_start, completed, run_times
FROM forge_metric
WHERE level = :level AND kind = ''
    AND queue_name IN (SELECT v.name FROM /* rows v: name text */)
    AND bucket_start >= :from_at AND bucket_start < :to_at

-- fragment: queues_with_figures
-- Every queue with figures, by one look-up in the primary key for each.
RECURSIVE queue (name) AS (
    SELECT MIN(queue_name) FROM forge_metric WHERE level = :level AND queue_name > ''
    UNION ALL
    SELECT (
        SELECT MIN(queue_name) FROM forge_metric
        WHERE level = :level AND queue_name > queue.name
    )
    FROM queue
    WHERE queue.name IS NOT NULL
)

-- fragment: timeline_columns
m.kind, m.bucket_start, m.enqueued, m.started, m.retried, m.completed, m.dead,
m.cancelled, m.wait_times, m.run_times, m.total_times

-- name: timeline_of_kinds
-- Served by the primary key: one range for each queue and kind. forge_metric_time would
-- read all kinds of the window.
WITH /* use queues_with_figures */
SELECT /* use timeline_columns */
FROM queue
CROSS JOIN /* rows v: name text */
CROSS JOIN forge_metric AS m
WHERE m.level = :level AND m.queue_name = queue.name AND m.kind = v.name
    AND (:any_queue OR queue.name IN (SELECT q.name FROM /* rows q: name text = :queues */))
    AND m.bucket_start >= :from_at AND m.bucket_start < :to_at

-- name: timeline_of_active_kinds
-- Served by forge_metric_time: all kinds up to the last one that is shown. A range for each
-- of many kinds in each queue would take longer.
SELECT /* use timeline_columns */
FROM /* use figures_of_active_kinds */

-- fragment: figures_of_active_kinds
forge_metric AS m
WHERE /* use is_active_kind */

-- fragment: is_active_kind
level = :level AND queue_name <> '' AND kind <> '' AND kind <= :last_kind
    AND /* use of_queues */
    AND bucket_start >= :from_at AND bucket_start < :to_at

-- name: active_kinds
-- Served by forge_metric_time.
SELECT DISTINCT kind
FROM forge_metric
WHERE level = :level AND queue_name <> '' AND kind <> ''
    AND /* use of_queues */
    AND bucket_start >= :from_at AND bucket_start < :to_at

-- fragment: figures_of_parts
m.started, m.retried, m.completed, m.dead, m.cancelled, m.run_times
FROM /* rows p: step integer, from_at bigint, to_at bigint = :parts */
CROSS JOIN forge_metric AS m
WHERE m.level = p.step AND m.queue_name <> ''
    AND (:any_queue OR m.queue_name IN (SELECT v.name FROM /* rows v: name text = :queues */))
    AND m.bucket_start >= p.from_at AND m.bucket_start < p.to_at

-- name: kinds_within
-- Served by forge_metric_time: one range for each part of a window. Run times only: the
-- table of kinds shows no others.
SELECT m.kind, /* use figures_of_parts */ AND m.kind <> ''

-- name: queues_within
-- The same of queues.
SELECT m.queue_name, /* use figures_of_parts */ AND m.kind = ''

-- name: counter_totals
-- Days plus level 0: each event ever counted, once.
SELECT
    queue_name, kind, CAST(SUM(enqueued) AS BIGINT), CAST(SUM(started) AS BIGINT),
    CAST(SUM(retried) AS BIGINT), CAST(SUM(completed) AS BIGINT),
    CAST(SUM(dead) AS BIGINT), CAST(SUM(refused) AS BIGINT),
    CAST(SUM(cancelled) AS BIGINT)
FROM forge_metric
WHERE level IN (0, :level) AND kind <> ''
GROUP BY queue_name, kind

-- name: stored_names
SELECT queue_name, kind FROM forge_metric WHERE level = :level

-- name: add_names
INSERT INTO forge_metric (/* use metric_columns */)
SELECT :level, v.queue_name, v.kind, 0, '', 0, 0, 0, 0, 0, 0, 0, '', '', ''
FROM /* rows v: queue_name text, kind text */
WHERE TRUE
ON CONFLICT (level, queue_name, kind, bucket_start, source) DO NOTHING

-- name: counter_times
SELECT queue_name, wait_times, run_times
FROM forge_metric
WHERE level IN (0, :level) AND kind = '' AND queue_name <> ''
    AND (wait_times <> '' OR run_times <> '')
ORDER BY queue_name

-- name: take_unfolded
-- Removes the rows of single sources, to merge them into rows without one: of buckets that
-- are over, and of sources that are. A row that is being written waits for the next time.
WITH unfolded AS MATERIALIZED (
    SELECT level, queue_name, kind, bucket_start, source
    FROM forge_metric
    WHERE level = :level AND source <> '' AND bucket_start <= :cutoff
        AND (bucket_start <= :closed OR source < :ended_before)
    ORDER BY bucket_start
    LIMIT :limit
    /* skip_locked */
)
DELETE FROM forge_metric
WHERE (level, queue_name, kind, bucket_start, source) IN (
    SELECT level, queue_name, kind, bucket_start, source FROM unfolded
)
RETURNING
    level, queue_name, kind, bucket_start, enqueued, started, retried, completed,
    dead, refused, cancelled, wait_times, run_times, total_times

-- name: take_old
-- Removes rows that are too old for their level.
DELETE FROM forge_metric
WHERE (level, queue_name, kind, bucket_start, source) IN (
    SELECT level, queue_name, kind, bucket_start, source
    FROM forge_metric
    WHERE level = :level AND bucket_start < :cutoff
    ORDER BY bucket_start
    LIMIT :limit
)
RETURNING
    level, queue_name, kind, bucket_start, enqueued, started, retried, completed,
    dead, refused, cancelled, wait_times, run_times, total_times

-- name: stored_metrics
-- The rows of one source.
SELECT
    m.level, m.queue_name, m.kind, m.bucket_start, m.enqueued, m.started, m.retried,
    m.completed, m.dead, m.refused, m.cancelled, m.wait_times, m.run_times,
    m.total_times
FROM /* rows v: level integer, queue_name text, kind text, bucket_start bigint */
CROSS JOIN forge_metric AS m
WHERE m.level = v.level AND m.queue_name = v.queue_name AND m.kind = v.kind
    AND m.bucket_start = v.bucket_start AND m.source = :source

-- name: begin_source
INSERT INTO forge_metric_source (source, number) VALUES (:source, :number)
ON CONFLICT (source) DO NOTHING

-- name: advance_source
UPDATE forge_metric_source SET number = :number
WHERE source = :source AND number = :number - 1

-- name: drop_old_sources
DELETE FROM forge_metric_source WHERE source < :before
