-- The hot path of producers and workers.

-- fragment: insert_many
INSERT INTO forge_job (/* use new_job_columns */)
SELECT
    v.id, v.queue_name, v.dedupe_key, :now,
    CASE
        WHEN v.run_at > :now THEN v.run_at
        WHEN v.run_at < 0 THEN :now - v.run_at
        ELSE :now
    END,
    COALESCE(v.run_at > :now OR v.run_at < 0, FALSE),
    /* use copied_of_v */
FROM /* use new_job_rows */
WHERE TRUE
ON CONFLICT DO NOTHING
RETURNING id, scheduled_at

-- name: enqueue_many
-- A negative start counts from now.
/* use insert_many */

-- name: now
SELECT :now

-- fragment: on_disk
-- Of a job that its producer adds again: PostgreSQL has the disk write it first. SQLite
-- does so by the mark "on disk".
TRUE

-- name: find_enqueued
-- The job with this id or, if there is none, the unfinished job with this key.
SELECT id, queue_name, kind, status, scheduled_at
FROM forge_job
WHERE (id = :id AND /* use on_disk */)
    OR (
        dedupe_key = :dedupe_key AND dedupe_key IS NOT NULL
        AND status IN (/* use unfinished */)
    )
ORDER BY CASE WHEN id = :id THEN 0 ELSE 1 END
LIMIT 1
/* on disk */

-- fragment: holder
-- The unfinished job with the key of a row. Not a join on the key, for which PostgreSQL
-- would read all jobs with keys for each row as long as it has no statistics.
(
    SELECT id
    FROM forge_job
    WHERE dedupe_key = v.dedupe_key AND dedupe_key IS NOT NULL
        AND status IN (/* use unfinished */)
)

-- name: find_enqueued_many
-- The same for each row. Served by forge_job_dedupe.
WITH matches AS MATERIALIZED (
    SELECT
        v.id AS new_id,
        COALESCE(
            (SELECT id FROM forge_job WHERE id = v.id AND /* use on_disk */),
            /* use holder */
        ) AS job_id
    FROM /* rows v: id text, dedupe_key text */
)
SELECT
    matches.new_id, forge_job.id, forge_job.queue_name, forge_job.kind, forge_job.status,
    forge_job.scheduled_at
FROM matches
INNER JOIN forge_job ON forge_job.id = matches.job_id
/* on disk */

-- name: lock_pending
-- Served by forge_job_dedupe.
SELECT id
FROM forge_job
WHERE COALESCE(status, '') = 'pending'
    AND id IN (SELECT /* use holder */ FROM /* rows v: dedupe_key text */)
ORDER BY id
/* for_update */

-- fragment: claimed_columns
-- In the order of ClaimedJob's fields.
    id, queue_name, kind, payload, priority, scheduled_at, attempts, max_attempts,
    throttle_attempts, error_history, timeout_s, enqueued_at, started_at, claims,
    carried, dedupe_key IS NOT NULL, crashes

-- name: held
-- Served by forge_job_running: the jobs that a worker has claimed and not finished.
SELECT /* use claimed_columns */
FROM forge_job
WHERE status = 'in_progress' AND worker_id = :worker_id

-- name: find_recent
-- Served by forge_job_key: the newest other job of a key within the window, in any state.
SELECT id, queue_name, kind, status, scheduled_at
FROM forge_job
WHERE dedupe_key = :dedupe_key AND dedupe_key IS NOT NULL
    AND enqueued_at > :now - :window_us AND id <> :id
ORDER BY enqueued_at DESC, id DESC
LIMIT 1
/* on disk */

-- fragment: chosen_start
-- A negative start counts from now.
CASE WHEN :run_at > :now THEN :run_at WHEN :run_at < 0 THEN :now - :run_at ELSE :now END

-- name: replace_pending
-- Served by forge_job_dedupe. Skips a job that has been claimed meanwhile.
UPDATE forge_job
SET
    payload = COALESCE(:payload, payload),
    -- Of a job that waits for others, the start once they have ended.
    start_at = CASE
        WHEN start_at IS NULL OR NOT :moves THEN start_at
        ELSE /* use chosen_start */
    END,
    scheduled_at = CASE
        WHEN start_at IS NOT NULL OR NOT :moves THEN scheduled_at
        ELSE /* use chosen_start */
    END,
    deferred = CASE
        WHEN start_at IS NOT NULL OR NOT :moves THEN deferred
        ELSE COALESCE(:run_at > :now OR :run_at < 0, FALSE)
    END
WHERE dedupe_key = :dedupe_key AND dedupe_key IS NOT NULL
    AND status IN (/* use unfinished */)
    AND COALESCE(status, '') = 'pending' AND kind = :kind
RETURNING id, queue_name, kind, status, scheduled_at

-- name: ensure_queue
-- Counts queues only for a new one. Concurrent inserts on PostgreSQL do not see each
-- other, so the limit may be exceeded by the number of callers.
INSERT INTO forge_queue (name, max_workers, updated_at)
SELECT :name, :max_workers, :now
WHERE NOT EXISTS (SELECT 1 FROM forge_queue WHERE name = :name)
    AND (SELECT COUNT(*) FROM forge_queue) < :max_queues
ON CONFLICT (name) DO NOTHING
RETURNING name

-- name: claim_one
-- Claims one job by the usual rules, to run it in the process that enqueued it.
UPDATE forge_job
SET
    status = 'in_progress', attempts = attempts + 1, claims = claims + 1,
    worker_id = :worker_id, deferred = FALSE,
    started_at = :now, heartbeat_at = :now, completed_at = NULL, progress = NULL
WHERE id = :id AND status IN (/* use waiting */) AND scheduled_at <= :now
    AND NOT EXISTS (
        SELECT 1
        FROM forge_queue
        WHERE name = forge_job.queue_name AND (paused OR throttled_until > :now)
    )
RETURNING /* use claimed_columns */

-- name: lock_cancelled
-- The fence of finish_cancelled: the job was asked to stop, or its worker was, and still
-- runs in this very claim. Does not wait, because it locks out of the order of ids.
SELECT forge_job.id, forge_job.cancel_reason
FROM forge_job
INNER JOIN /* rows v: job_id text, run integer, knows integer */
    ON forge_job.id = v.job_id
WHERE COALESCE(forge_job.status, '') = 'in_progress'
    AND COALESCE(forge_job.worker_id, '') = :worker_id
    AND forge_job.claims = v.run
    AND (forge_job.cancel_requested_at IS NOT NULL OR v.knows = 1)
/* nowait_job */

-- name: finish_cancelled
-- Ends jobs that lock_cancelled has locked, even if the run failed, was throttled or
-- released.
UPDATE forge_job
SET
    status = 'dead', completed_at = :now, last_error = v.error,
    error_history = v.history, deferred = FALSE, worker_id = NULL, heartbeat_at = NULL,
    cancel_requested_at = COALESCE(forge_job.cancel_requested_at, :now),
    signature = NULL
FROM /* rows v: job_id text, error text, history text */
WHERE forge_job.id = v.job_id
RETURNING forge_job.id, forge_job.batch_id, forge_job.ties

-- name: stored_before
-- The outcomes that a commit with an unknown result has stored. The error text tells our
-- own failure from that of a process that rescued the job. A reason may follow it. If the
-- job has been claimed again since, its attempt tells: a rescue stores other ends.
SELECT forge_job.id
FROM forge_job
INNER JOIN /* rows v: job_id text, run integer, new_status text, error text */
    ON forge_job.id = v.job_id
WHERE (
    forge_job.status = v.new_status AND forge_job.claims = v.run
    AND (
        v.error IS NULL
        OR SUBSTR(forge_job.last_error, 1, LENGTH(v.error)) = v.error
    )
)
OR EXISTS (
    SELECT 1
    FROM forge_attempt AS own
    WHERE own.job_id = v.job_id AND own.run = v.run AND own.worker_id = :worker_id
        AND own.ending NOT IN ('crashed', 'cancelled')
)

-- name: open_cooldown
-- A longer delay extends an open window; throttle_attempts counts windows, not workers.
UPDATE forge_queue
SET
    throttle_attempts = CASE
        WHEN throttled_until > :now OR throttle_attempts >= 30 THEN throttle_attempts
        ELSE throttle_attempts + 1
    END,
    throttled_until = CASE
        WHEN throttled_until > :now + :delay_us THEN throttled_until
        ELSE :now + :delay_us
    END,
    throttled_job_id = CASE
        WHEN throttled_until > :now + :delay_us THEN throttled_job_id ELSE :job_id
    END,
    throttled_kind = CASE
        WHEN throttled_until > :now + :delay_us THEN throttled_kind ELSE :kind
    END,
    throttled_by = CASE WHEN throttled_until > :now + :delay_us THEN throttled_by END,
    throttle_cause = CASE
        WHEN throttled_until > :now + :delay_us THEN throttle_cause ELSE :cause
    END,
    updated_at = :now
WHERE name = :name

-- name: decay_cooldown
-- Resets the cool-down on a success long enough after its window.
UPDATE forge_queue
SET /* use no_cooldown */, updated_at = :now
WHERE name = :name
    AND throttle_attempts > 0
    AND (throttled_until IS NULL OR throttled_until < :now - :grace_us)

-- name: heartbeat
-- Served by forge_job_running: renews all running jobs of a worker. The count has all of
-- them locked before the first is written; a join might do it one by one. Who refers to
-- a job from a table of the application's holds nothing up.
WITH mine AS MATERIALIZED (
    SELECT id
    FROM forge_job
    WHERE status = 'in_progress' AND worker_id = :worker_id
    ORDER BY id
    /* for_no_key_update */
)
UPDATE forge_job
SET heartbeat_at = :now
WHERE id IN (SELECT id FROM mine) AND (SELECT COUNT(*) FROM mine) > 0
RETURNING id, claims, cancel_requested_at

-- name: set_progress
-- For jobs that the heartbeat of the same transaction has locked as the worker's own.
UPDATE forge_job
SET progress = v.new_progress
FROM /* rows v: job_id text, new_progress text */
WHERE forge_job.id = v.job_id

-- name: cancelled
-- Served by forge_job_cancelled, which holds only jobs being stopped.
SELECT id
FROM forge_job
WHERE status = 'in_progress' AND cancel_requested_at IS NOT NULL
    AND worker_id = :worker_id

-- name: running
-- A row that was claimed by hand has no heartbeat.
SELECT
    id, attempts, COALESCE(heartbeat_at, 0), worker_id, :now - COALESCE(heartbeat_at, 0)
FROM forge_job
WHERE status = 'in_progress'
ORDER BY worker_id, id

-- name: lock_stale
-- The heartbeat must still be the observed one, so a stalled reaper does no harm.
SELECT
    forge_job.id, forge_job.queue_name, forge_job.attempts, forge_job.max_attempts,
    forge_job.crashes, forge_job.error_history, forge_job.cancel_requested_at,
    forge_job.kind, forge_job.cancel_reason, forge_job.claims, forge_job.scheduled_at,
    forge_job.started_at, forge_job.worker_id, /* use runner */,
    -- It may have no slots: none yet, or none left since it was lost.
    EXISTS (
        SELECT 1
        FROM forge_worker
        WHERE forge_worker.worker_id = forge_job.worker_id
    )
FROM forge_job
INNER JOIN /* rows v: job_id text, run integer, seen_at bigint */
    ON forge_job.id = v.job_id
WHERE COALESCE(forge_job.status, '') = 'in_progress'
    AND forge_job.attempts = v.run
    AND COALESCE(forge_job.heartbeat_at, 0) = v.seen_at
ORDER BY forge_job.id
/* skip_locked_job */

-- name: rescue
UPDATE forge_job
SET
    status = v.new_status,
    max_attempts = max_attempts + v.more_attempts,
    crashes = crashes + 1,
    scheduled_at = CASE
        WHEN v.delay_us IS NULL THEN scheduled_at ELSE :now + v.delay_us
    END,
    deferred = COALESCE(v.delay_us > 0, FALSE),
    completed_at = CASE WHEN v.new_status = 'dead' THEN :now END,
    last_error = v.error,
    error_history = v.history,
    worker_id = NULL,
    heartbeat_at = NULL,
    signature = v.new_signature
FROM /* rows v: job_id text, run integer, more_attempts integer, new_status text, delay_us bigint, error text, history text, new_signature text */
WHERE forge_job.id = v.job_id
    AND COALESCE(forge_job.status, '') = 'in_progress'
    AND forge_job.attempts = v.run
RETURNING
    forge_job.id,
    CASE WHEN admitted_at = started_at THEN concurrency_key END,
    batch_id, ties

-- name: has_due
-- Served by forge_job_claim and forge_job_deferred: would a claim find a job?
SELECT 1
WHERE (
    EXISTS (
        SELECT 1
        FROM forge_job
        WHERE queue_name = :queue_name
            AND status IN (/* use waiting */) AND NOT deferred
    )
    OR EXISTS (
        SELECT 1
        FROM forge_job
        WHERE queue_name = :queue_name AND deferred AND scheduled_at <= :now
    )
)
AND NOT EXISTS (
    SELECT 1
    FROM forge_queue
    WHERE name = :queue_name AND (paused OR throttled_until > :now)
)

-- name: next_due
-- Served by forge_job_deferred and forge_job_claim: microseconds until a claim may find a
-- job, or 0; NULL without one. A claim misses jobs that another worker is just promoting, so
-- one that waits is looked for once more, after a moment: it may be locked for long. Of a
-- paused queue a second later: by then a worker knows of the pause, unless it is over.
SELECT CASE WHEN next_at > :now THEN next_at - :now ELSE next_at - next_at END
FROM (
    SELECT CASE WHEN opens_at > first_at THEN opens_at ELSE first_at END AS next_at
    FROM (
        SELECT
            CASE
                WHEN EXISTS (
                    SELECT 1
                    FROM forge_job
                    WHERE queue_name = :queue_name
                        AND status IN (/* use waiting */) AND NOT deferred
                )
                    THEN :now + 250000
                ELSE (
                    SELECT MIN(scheduled_at)
                    FROM forge_job
                    WHERE deferred AND queue_name = :queue_name
                )
            END AS first_at,
            (
                SELECT CASE WHEN paused THEN :now + 1000000 ELSE throttled_until END
                FROM forge_queue
                WHERE name = :queue_name
            ) AS opens_at
    ) AS waiting
) AS coming
