-- Cron schedules. They are few, so no statement needs an index.

-- name: all_schedules
SELECT /* use schedule_columns */
FROM forge_cron
ORDER BY name

-- name: count_schedules
SELECT COUNT(*)
FROM forge_cron

-- name: get_schedule
SELECT /* use schedule_columns */
FROM forge_cron
WHERE name = :name

-- name: lock_schedule
-- And the time.
SELECT /* use schedule_columns */, :now
FROM forge_cron
WHERE name = :name
/* for_update */

-- name: add_schedule
INSERT INTO forge_cron (
    name, kind, payload, queue_name, cron_expr, timezone, enabled, max_attempts,
    dedupe_key, next_fire_at, last_error, created_at, updated_at, catch_up,
    catch_up_limit, declared_by, declared_as
)
VALUES (
    :name, :kind, :payload, :queue_name, :cron_expr, :timezone, :enabled,
    :max_attempts, :dedupe_key, :next_fire_at, :last_error, :created_at, :updated_at,
    :catch_up, :catch_up_limit, :declared_by, :declared_as
)
ON CONFLICT (name) DO NOTHING
RETURNING name
/* noted: named */

-- name: change_schedule
UPDATE forge_cron
SET
    kind = :kind, payload = :payload, queue_name = :queue_name,
    cron_expr = :cron_expr, timezone = :timezone, enabled = :enabled,
    max_attempts = :max_attempts, dedupe_key = :dedupe_key,
    next_fire_at = :next_fire_at, last_error = :last_error, updated_at = :updated_at,
    catch_up = :catch_up, catch_up_limit = :catch_up_limit,
    declared_by = :declared_by, declared_as = :declared_as
WHERE name = :name

-- name: delete_schedule
DELETE FROM forge_cron
WHERE name = :name
RETURNING name
/* noted: named */

-- name: declared_names
SELECT name
FROM forge_cron
WHERE declared_by = :declared_by

-- name: firings_ahead
-- How long the oldest firing has been due, and how long until the next one, by one clock.
-- A change more than a minute in the future means that the clock was ahead then.
SELECT
    MAX(
        CASE
            WHEN next_fire_at <= :now THEN :now - next_fire_at
            WHEN updated_at > :now + 60000000 THEN updated_at - :now
        END
    ),
    MIN(CASE WHEN next_fire_at > :now THEN next_fire_at END) - :now
FROM forge_cron
WHERE enabled

-- name: due_schedules
-- Skips schedules that another process is firing.
SELECT /* use schedule_columns */
FROM forge_cron
WHERE enabled AND name > :after
    AND (next_fire_at <= :now - :overdue_us OR updated_at > :now + 60000000)
ORDER BY name
LIMIT :limit
/* skip_locked */

-- name: fire
-- forge_job_firing keeps this to one job for each instant of a schedule. Keys are locked
-- in the order of bulk enqueues, to avoid deadlocks.
INSERT INTO forge_job (
    id, queue_name, kind, payload, priority, enqueued_at, scheduled_at, deferred,
    max_attempts, dedupe_key, schedule_name, fire_at
)
SELECT
    v.id, v.queue_name, forge_cron.kind, forge_cron.payload, 0, :now, :now, FALSE,
    v.max_attempts, forge_cron.dedupe_key, forge_cron.name, v.fire_at
FROM /* rows v: id text, schedule text, queue_name text, max_attempts integer, fire_at bigint */
INNER JOIN forge_cron ON forge_cron.name = v.schedule
WHERE v.queue_name IN (SELECT name FROM forge_queue)
ORDER BY COALESCE(forge_cron.dedupe_key, ''), v.id
ON CONFLICT DO NOTHING
RETURNING id

-- name: advance_schedule
UPDATE forge_cron
SET
    enabled = :enabled, last_fired_at = :last_fired_at, next_fire_at = :next_fire_at,
    last_error = :last_error, updated_at = :updated_at
WHERE name = :name
