-- fragment: gauge_columns
level, queue_name, bucket_start, samples, waiting, oldest_wait_s, running, free_slots,
live_workers

-- name: put_gauges
INSERT INTO forge_gauge (/* use gauge_columns */)
SELECT
    :level, v.queue_name, :from_at, v.samples, v.waiting, v.oldest_wait_s, v.running,
    v.free_slots, v.live_workers
FROM /* rows v: queue_name text, samples integer, waiting bigint, oldest_wait_s bigint, running bigint, free_slots bigint, live_workers bigint */
WHERE TRUE
ON CONFLICT (level, queue_name, bucket_start) DO UPDATE SET
    samples = excluded.samples,
    waiting = excluded.waiting,
    oldest_wait_s = excluded.oldest_wait_s,
    running = excluded.running,
    free_slots = excluded.free_slots,
    live_workers = excluded.live_workers

-- name: sum_gauges
-- Served by the primary key: the minutes of one wider bucket, a range for each queue.
INSERT INTO forge_gauge (/* use gauge_columns */)
SELECT
    :level, g.queue_name, :from_at, SUM(g.samples), SUM(g.waiting), MAX(g.oldest_wait_s),
    SUM(g.running), SUM(g.free_slots), SUM(g.live_workers)
FROM /* rows v: name text */
CROSS JOIN forge_gauge AS g
WHERE g.level = :now_level AND g.queue_name = v.name
    AND g.bucket_start >= :from_at AND g.bucket_start < :to_at
GROUP BY g.queue_name
ON CONFLICT (level, queue_name, bucket_start) DO UPDATE SET
    samples = excluded.samples,
    waiting = excluded.waiting,
    oldest_wait_s = excluded.oldest_wait_s,
    running = excluded.running,
    free_slots = excluded.free_slots,
    live_workers = excluded.live_workers

-- name: gauges_within
-- Served by the primary key: one range for each queue.
SELECT
    g.queue_name, g.bucket_start, g.samples, g.waiting, g.oldest_wait_s, g.running,
    g.free_slots, g.live_workers
FROM /* rows v: name text */
CROSS JOIN forge_gauge AS g
WHERE g.level = :level AND g.queue_name = v.name
    AND g.bucket_start >= :from_at AND g.bucket_start < :to_at

-- name: drop_old_gauges
-- Served by forge_gauge_time.
DELETE FROM forge_gauge
WHERE (level, queue_name, bucket_start) IN (
    SELECT level, queue_name, bucket_start
    FROM forge_gauge
    WHERE level = :level AND bucket_start < :cutoff
    ORDER BY bucket_start
    LIMIT :limit
)
