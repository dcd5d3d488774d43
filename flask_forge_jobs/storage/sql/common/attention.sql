-- The facts of the attention report, from one snapshot and in one round trip.

-- fragment: counts_of_kinds
SELECT
    queue_name, kind,
    SUM(CASE WHEN status = 'pending' AND NOT deferred THEN jobs ELSE 0 END) AS pending,
    SUM(CASE WHEN status = 'pending' AND deferred THEN jobs ELSE 0 END) AS scheduled,
    SUM(CASE WHEN status = 'in_progress' THEN jobs ELSE 0 END) AS in_progress,
    SUM(CASE WHEN status = 'done' THEN jobs ELSE 0 END) AS done,
    SUM(CASE WHEN status = 'failed' THEN jobs ELSE 0 END) AS failed,
    SUM(CASE WHEN status = 'dead' THEN jobs ELSE 0 END) AS dead
FROM forge_job_count
GROUP BY queue_name, kind
HAVING SUM(jobs) > 0

-- fragment: ended_runs
-- A row for each queue and kind: how runs ended in the last hour and in the bucket in which
-- that hour begins, then failures and runs of the hour before and of the day. By part: 0
-- began within the last hour, 1 is that bucket, 2 the hour before, 3 the day. Served by
-- forge_metric_time. Rows without a kind sum up those with one.
SELECT
    queue_name, kind,
    SUM(CASE WHEN part = 0 THEN completed ELSE 0 END) AS completed,
    SUM(CASE WHEN part = 0 THEN retried ELSE 0 END) AS retried,
    SUM(CASE WHEN part = 0 THEN dead ELSE 0 END) AS dead,
    SUM(CASE WHEN part = 1 THEN completed ELSE 0 END) AS edge_completed,
    SUM(CASE WHEN part = 1 THEN retried ELSE 0 END) AS edge_retried,
    SUM(CASE WHEN part = 1 THEN dead ELSE 0 END) AS edge_dead,
    SUM(CASE WHEN part = 2 THEN retried + dead ELSE 0 END) AS failed_before,
    SUM(CASE WHEN part = 2 THEN completed + retried + dead ELSE 0 END) AS runs_before,
    SUM(CASE WHEN part = 3 THEN retried + dead ELSE 0 END) AS failed_of_day,
    SUM(CASE WHEN part = 3 THEN completed + retried + dead ELSE 0 END) AS runs_of_day
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
GROUP BY queue_name, kind

-- fragment: rescued_jobs
-- The jobs of lost workers. Served by forge_attempt_crashed.
SELECT
    a.worker_id, job.queue_name, COUNT(*) AS jobs,
    SUM(CASE WHEN job.status = 'dead' THEN 1 ELSE 0 END) AS dead
FROM forge_worker AS w
INNER JOIN forge_attempt AS a ON a.worker_id = w.worker_id AND a.ending = 'crashed'
INNER JOIN forge_job AS job ON job.id = a.job_id
WHERE w.lost_at IS NOT NULL
GROUP BY a.worker_id, job.queue_name

-- fragment: held_jobs
-- Served by primary keys: the jobs that wait on for parents that are dead or gone, and
-- both their batches.
SELECT
    child.id, child.queue_name, child.kind, child.batch_id, own.name AS batch_name,
    link.parent_id, COALESCE(link.parent_kind, batch.name) AS parent_name,
    parent.queue_name AS parent_queue, link.parent_kind IS NULL AS is_batch,
    parent.id IS NULL AND batch.id IS NULL AS is_gone,
    SUBSTR(parent.last_error, 1, 200) AS error
FROM (
    SELECT parent_id, child_id
    FROM forge_hold
    ORDER BY parent_id, child_id
    LIMIT :max_held
) AS hold
INNER JOIN forge_link AS link
    ON link.child_id = hold.child_id AND link.parent_id = hold.parent_id
INNER JOIN forge_job AS child ON child.id = hold.child_id
LEFT JOIN forge_job AS parent ON parent.id = hold.parent_id
LEFT JOIN forge_batch AS batch ON batch.id = hold.parent_id
LEFT JOIN forge_batch AS own ON own.id = child.batch_id
WHERE link.ended IS NULL
    AND (
        parent.status = 'dead'
        OR (parent.id IS NULL AND (batch.id IS NULL OR batch.completed_at IS NOT NULL))
    )

-- fragment: quiet_batches
-- Served by forge_batch_open: of the oldest, those whose producer adds nothing more.
SELECT id, name, quiet_us, jobs, unfinished
FROM (
    SELECT
        id, name, is_sealed, cancel_requested_at, :now - last_added_at AS quiet_us,
        total AS jobs, total - done - dead - removed AS unfinished
    FROM forge_batch
    WHERE completed_at IS NULL
    ORDER BY created_at
    LIMIT :max_open
) AS oldest
WHERE NOT is_sealed AND cancel_requested_at IS NULL AND quiet_us >= :quiet_us

-- fragment: heads_of_times
-- The percentiles stand at the beginning of a stored histogram. Served by the primary key.
SELECT
    level, SUBSTR(read_times, 1, 60) AS read_times,
    SUBSTR(write_times, 1, 60) AS write_times
FROM forge_sample
WHERE level = :now_level AND bucket_start >= :now_at
UNION ALL
SELECT level, SUBSTR(read_times, 1, 60), SUBSTR(write_times, 1, 60)
FROM forge_sample
WHERE level = :usual_level AND bucket_start >= :usual_at
    AND bucket_start < :usual_end AND bucket_start % :usual_every = 0

-- name: attention
SELECT /* prepared */
    :now,
    (
        SELECT JSON_LIST(
            JSON_ROW(
                name, max_workers, paused, throttled_until - :now, max_pending,
                :now - paused_at, paused_by, pause_reason, throttled_kind,
                throttled_job_id, throttled_by, throttle_cause, last_worker,
                :now - last_served_at
            )
        )
        FROM forge_queue
    ),
    (
        SELECT JSON_LIST(
            JSON_ROW(
                queue_name, kind, pending, scheduled, in_progress, done, failed, dead
            )
        )
        FROM (/* use counts_of_kinds */) AS counted
    ),
    (
        SELECT JSON_LIST(JSON_ROW(queue_name, overdue, waited_s))
        FROM (/* use waits */) AS due
    ),
    (
        SELECT JSON_LIST(JSON_ROW(queue_name, slots, busy_slots))
        FROM (
            SELECT queue_name, COUNT(*) AS slots, COUNT(current_job) AS busy_slots
            FROM forge_slot
            WHERE heartbeat_at >= :now - :live_us
            GROUP BY queue_name
        ) AS slot
    ),
    (
        SELECT JSON_LIST(
            JSON_ROW(
                w.worker_id, w.worker_name, w.queues, :now - w.heartbeat_at, w.services,
                w.lost_at IS NOT NULL, w.threads, COALESCE(slot.slots, 0),
                COALESCE(slot.busy_slots, 0)
            )
        )
        FROM forge_worker AS w
        LEFT JOIN (
            SELECT worker_id, COUNT(*) AS slots, COUNT(current_job) AS busy_slots
            FROM forge_slot
            WHERE heartbeat_at >= :now - :live_us
            GROUP BY worker_id
        ) AS slot ON slot.worker_id = w.worker_id
    ),
    (
        SELECT JSON_LIST(JSON_ROW(worker_id, queue_name, jobs, dead))
        FROM (/* use rescued_jobs */) AS rescued
    ),
    (
        -- Most workers are of the same application.
        SELECT JSON_LIST(JSON_ROW(queues, kinds))
        FROM (
            SELECT DISTINCT queues, kinds
            FROM forge_worker
            WHERE heartbeat_at >= :now - :live_us AND lost_at IS NULL
        ) AS worker
    ),
    (
        SELECT JSON_LIST(
            JSON_ROW(
                queue_name, kind, completed, retried, dead, edge_completed,
                edge_retried, edge_dead, failed_before, runs_before, failed_of_day,
                runs_of_day
            )
        )
        FROM (/* use ended_runs */) AS run
    ),
    (
        SELECT JSON_LIST(
            JSON_ROW(
                name, kind, queue_name, COALESCE(next_fire_at, updated_at), last_error
            )
        )
        FROM forge_cron
        WHERE last_error IS NOT NULL
            OR (enabled AND next_fire_at < :now - :overdue_us)
    ),
    (
        SELECT JSON_LIST(
            JSON_ROW(scope, refill_per_sec, last_refilled_at, line_ends_at)
        )
        FROM forge_rate_limit
        WHERE line_ends_at > :now + :line_us
    ),
    (
        SELECT JSON_LIST(JSON_ROW(level, read_times, write_times))
        FROM (/* use heads_of_times */) AS head
    ),
    (
        SELECT JSON_LIST(JSON_ROW(holder, application, age_s))
        FROM (/* use open_transactions */) AS held
        WHERE age_s >= :old_s
    ),
    (
        SELECT JSON_LIST(
            JSON_ROW(
                id, queue_name, kind, batch_id, batch_name, parent_id, parent_name,
                parent_queue, is_batch, is_gone, error
            )
        )
        FROM (/* use held_jobs */) AS held
    ),
    (
        SELECT JSON_LIST(JSON_ROW(id, name, quiet_us, jobs, unfinished))
        FROM (/* use quiet_batches */) AS quiet
    ),
    (SELECT MAX(version) FROM forge_schema),
    (SELECT MAX(oldest_reader) FROM forge_schema)

-- name: common_errors
-- The failures of the last one to two hours by signature. Served by forge_error_kind and
-- the primary key of forge_error_bucket; there are few changes.
SELECT queue_name, kind, signature, SUM(failures)
FROM (
    SELECT e.queue_name, e.kind, e.signature, b.failures
    FROM /* rows v: queue_name text, kind text */
    INNER JOIN forge_error AS e ON e.queue_name = v.queue_name AND e.kind = v.kind
    INNER JOIN forge_error_bucket AS b
        ON b.width_s = 3600 AND b.signature = e.signature
        AND b.queue_name = e.queue_name AND b.kind = e.kind
        AND b.bucket_start >= :now - 7200000000
    UNION ALL
    SELECT c.queue_name, c.kind, c.signature, c.failures
    FROM /* rows v: queue_name text, kind text */
    INNER JOIN forge_error_change AS c ON c.queue_name = v.queue_name AND c.kind = v.kind
    WHERE c.failures > 0 AND c.at >= :now - 7200000000
) AS failure
GROUP BY queue_name, kind, signature

-- name: touch_nothing
-- Needs the write lock of a SQLite file.
DELETE FROM forge_lease
WHERE 1 = 0
