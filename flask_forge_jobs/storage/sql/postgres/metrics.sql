-- name: try_lock
-- Held until the transaction ends.
SELECT pg_try_advisory_xact_lock(:lock_key)

-- name: wait_for_lock
-- As above.
SELECT pg_advisory_xact_lock(:lock_key)

-- fragment: is_named
-- Without statistics the planner picks a range for each element of an array, but for a join
-- with the names reads all queues and kinds of the window.
queue_name = ANY (ARRAY(SELECT v.name FROM /* rows v: name text */))

-- name: timeline_of_kinds
-- As above. OFFSET 0 keeps the planner from merging the subquery into the join, where
-- without statistics it reads all kinds of the window.
WITH /* use queues_with_figures */
SELECT /* use timeline_columns */
FROM queue
CROSS JOIN LATERAL (
    SELECT *
    FROM forge_metric
    WHERE level = :level AND queue_name = queue.name
        AND kind = ANY (ARRAY(SELECT v.name FROM /* rows v: name text */))
        AND bucket_start >= :from_at AND bucket_start < :to_at
    OFFSET 0
) AS m
WHERE :any_queue OR queue.name IN (SELECT q.name FROM /* rows q: name text = :queues */)

-- name: append_metrics
-- Of buckets that have no figures.
COPY forge_metric (/* use metric_columns */) FROM STDIN

-- name: append_gauges
COPY forge_gauge (/* use gauge_columns */) FROM STDIN
