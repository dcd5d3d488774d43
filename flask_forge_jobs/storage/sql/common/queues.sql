-- fragment: pause_note
-- Pausing a paused queue changes nothing.
paused_at = CASE WHEN NOT :paused THEN NULL WHEN paused THEN paused_at ELSE :now END,
paused_by = CASE WHEN NOT :paused THEN NULL WHEN paused THEN paused_by ELSE :author END,
pause_reason = CASE
    WHEN NOT :paused THEN NULL WHEN paused THEN pause_reason ELSE :reason
END

-- fragment: no_cooldown
throttle_attempts = 0, throttled_until = NULL, throttled_job_id = NULL,
throttled_kind = NULL, throttled_by = NULL, throttle_cause = NULL

-- name: get_queue
SELECT /* use queue_columns */
FROM forge_queue
WHERE name = :name

-- name: lock_cooling_queue
-- First whether a throttled job has opened a cool-down.
SELECT COALESCE(throttled_until > :now AND throttled_job_id IS NOT NULL, FALSE), /* use queue_columns */
FROM forge_queue
WHERE name = :name
/* for_update */

-- name: lock_queue
SELECT /* use queue_columns */
FROM forge_queue
WHERE name = :name
/* for_update */

-- name: all_queues
SELECT /* use queue_columns */
FROM forge_queue
ORDER BY name

-- name: clear_cooldowns
WITH cooling AS MATERIALIZED (
    SELECT name
    FROM forge_queue
    WHERE (throttle_attempts > 0 OR throttled_until IS NOT NULL)
        AND (:any_queue OR name IN (SELECT v.name FROM /* rows v: name text */))
        AND COALESCE(throttled_until, 0) = COALESCE(:until_us, throttled_until, 0)
    ORDER BY name
    /* for_update */
)
UPDATE forge_queue
SET /* use no_cooldown */, updated_at = :now
WHERE name IN (SELECT name FROM cooling)
RETURNING name

-- fragment: all_or_known
-- All queues, or those that are named if each of them, ``number`` in all, is known.
:any_queue
OR (
    name IN (SELECT v.name FROM /* rows v: name text */)
    AND :number = (
        SELECT COUNT(*)
        FROM forge_queue AS known
        WHERE known.name IN (SELECT w.name FROM /* rows w: name text */)
    )
)

-- name: cool_down
-- An operator's cool-down replaces an open one, even if that would last longer.
WITH chosen AS MATERIALIZED (
    SELECT name
    FROM forge_queue
    WHERE /* use all_or_known */
    ORDER BY name
    /* for_update */
)
UPDATE forge_queue
SET
    throttled_until = :now + :delay_us, throttled_job_id = NULL, throttled_kind = NULL,
    throttled_by = :author, throttle_cause = :reason, updated_at = :now
WHERE name IN (SELECT name FROM chosen)
RETURNING name
/* noted: named */

-- name: create_queue
INSERT INTO forge_queue (
    name, max_workers, paused, retain_done_for_days, retain_dead_for_days,
    backoff_enabled, backoff_base_seconds, backoff_max_seconds, updated_at, max_pending,
    paused_at, paused_by, pause_reason
)
SELECT
    :name, :max_workers, :paused, :retain_done_for_days, :retain_dead_for_days,
    :backoff_enabled, :backoff_base_seconds, :backoff_max_seconds, :now, :max_pending,
    CASE WHEN :paused THEN :now END, CASE WHEN :paused THEN :author END,
    CASE WHEN :paused THEN :reason END
WHERE (SELECT COUNT(*) FROM forge_queue) < :max_queues
ON CONFLICT (name) DO NOTHING
RETURNING name
/* noted: named */

-- name: change_some_settings
-- A NULL keeps a setting, :keeps_bound that of max_pending. A queue that stays as it is
-- keeps its time.
UPDATE forge_queue
SET
    max_workers = COALESCE(:max_workers, max_workers),
    paused = COALESCE(:paused, paused),
    retain_done_for_days = COALESCE(:retain_done_for_days, retain_done_for_days),
    retain_dead_for_days = COALESCE(:retain_dead_for_days, retain_dead_for_days),
    backoff_enabled = COALESCE(:backoff_enabled, backoff_enabled),
    backoff_base_seconds = COALESCE(:backoff_base_seconds, backoff_base_seconds),
    backoff_max_seconds = COALESCE(:backoff_max_seconds, backoff_max_seconds),
    max_pending = CASE WHEN :keeps_bound THEN max_pending ELSE :max_pending END,
    updated_at = CASE
        WHEN max_workers = COALESCE(:max_workers, max_workers)
            AND paused = COALESCE(:paused, paused)
            AND retain_done_for_days
            = COALESCE(:retain_done_for_days, retain_done_for_days)
            AND retain_dead_for_days
            = COALESCE(:retain_dead_for_days, retain_dead_for_days)
            AND backoff_enabled = COALESCE(:backoff_enabled, backoff_enabled)
            AND backoff_base_seconds
            = COALESCE(:backoff_base_seconds, backoff_base_seconds)
            AND backoff_max_seconds = COALESCE(:backoff_max_seconds, backoff_max_seconds)
            AND (:keeps_bound OR COALESCE(max_pending, 0) = COALESCE(:max_pending, 0))
            THEN updated_at
        ELSE :now
    END,
    paused_at = CASE
        WHEN NOT COALESCE(:paused, paused) THEN NULL WHEN paused THEN paused_at ELSE :now
    END,
    paused_by = CASE
        WHEN NOT COALESCE(:paused, paused) THEN NULL WHEN paused THEN paused_by
        ELSE :author
    END,
    pause_reason = CASE
        WHEN NOT COALESCE(:paused, paused) THEN NULL WHEN paused THEN pause_reason
        ELSE :reason
    END
WHERE name = :name
RETURNING /* use queue_columns */
/* noted */

-- name: change_queue
UPDATE forge_queue
SET
    max_workers = :max_workers, paused = :paused,
    retain_done_for_days = :retain_done_for_days,
    retain_dead_for_days = :retain_dead_for_days, backoff_enabled = :backoff_enabled,
    backoff_base_seconds = :backoff_base_seconds,
    backoff_max_seconds = :backoff_max_seconds, max_pending = :max_pending,
    updated_at = :now, /* use pause_note */
WHERE name = :name

-- name: queue_bounds
SELECT name, max_pending
FROM forge_queue
WHERE name IN (SELECT v.name FROM /* rows v: name text */)

-- name: known_queues
SELECT name
FROM forge_queue
WHERE name IN (SELECT v.name FROM /* rows v: name text */)

-- name: set_paused_many
WITH other AS MATERIALIZED (
    SELECT name
    FROM forge_queue
    WHERE paused <> :paused AND (/* use all_or_known */)
        AND COALESCE(paused_at, 0) = COALESCE(:began_at_us, paused_at, 0)
    ORDER BY name
    /* for_update */
)
UPDATE forge_queue
SET paused = :paused, updated_at = :now, /* use pause_note */
WHERE name IN (SELECT name FROM other)
RETURNING name
/* noted: named */

-- name: unfinished_of_queue
SELECT COALESCE(SUM(jobs), 0)
FROM forge_job_count
WHERE queue_name = :name AND status IN (/* use unfinished */)

-- name: waiting_of_queue
SELECT COALESCE(SUM(jobs), 0)
FROM forge_job_count
WHERE queue_name = :name AND status IN (/* use waiting */)

-- fragment: delete_locked
-- The count has all jobs locked before the first is deleted; a join might do it one by one.
locked AS MATERIALIZED (
    SELECT id
    FROM forge_job
    WHERE id IN (SELECT id FROM waiting)
    ORDER BY id
    /* for_update */
)
DELETE FROM forge_job
WHERE status IN (/* use waiting */) AND id IN (SELECT id FROM locked)
    AND (SELECT COUNT(*) FROM locked) > 0
RETURNING id, batch_id, ties, status

-- name: delete_due
-- Served by forge_job_claim. Waits for concurrent claims; their jobs then run, and
-- cancel_running stops them.
WITH waiting AS MATERIALIZED (
    SELECT id
    FROM forge_job
    WHERE queue_name = :queue_name
        AND status IN (/* use waiting */) AND NOT deferred
    ORDER BY priority, scheduled_at, id
    LIMIT :limit
),
/* use delete_locked */

-- name: delete_deferred
-- Served by forge_job_deferred.
WITH waiting AS MATERIALIZED (
    SELECT id
    FROM forge_job
    WHERE deferred AND queue_name = :queue_name
    ORDER BY scheduled_at
    LIMIT :limit
),
/* use delete_locked */

-- name: cancel_running
-- Served by forge_job_running: all running jobs, which are never many.
WITH running AS MATERIALIZED (
    SELECT id
    FROM forge_job
    WHERE status = 'in_progress' AND queue_name = :queue_name
        AND cancel_requested_at IS NULL
    ORDER BY id
    /* for_update */
)
UPDATE forge_job
SET cancel_requested_at = :now
WHERE COALESCE(status, '') = 'in_progress' AND id IN (SELECT id FROM running)
    AND (SELECT COUNT(*) FROM running) > 0
RETURNING id

-- name: delete_queue
DELETE FROM forge_queue
WHERE name = :name
