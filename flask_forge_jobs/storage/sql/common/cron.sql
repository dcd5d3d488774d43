-- Schedules: as many as an operator writes down, so nothing here needs an index.

-- name: all_schedules
SELECT
    name, kind, payload, queue_name, cron_expr, timezone, enabled, max_attempts,
    dedupe_key, last_fired_at, next_fire_at, last_error, created_at, updated_at
FROM forge_cron
ORDER BY name

-- name: get_schedule
SELECT
    name, kind, payload, queue_name, cron_expr, timezone, enabled, max_attempts,
    dedupe_key, last_fired_at, next_fire_at, last_error, created_at, updated_at
FROM forge_cron
WHERE name = :name

-- name: lock_schedule
SELECT
    name, kind, payload, queue_name, cron_expr, timezone, enabled, max_attempts,
    dedupe_key, last_fired_at, next_fire_at, last_error, created_at, updated_at
FROM forge_cron
WHERE name = :name
/* for_update */

-- name: add_schedule
INSERT INTO forge_cron (
    name, kind, payload, queue_name, cron_expr, timezone, enabled, max_attempts,
    dedupe_key, next_fire_at, last_error, created_at, updated_at
)
VALUES (
    :name, :kind, :payload, :queue_name, :cron_expr, :timezone, :enabled,
    :max_attempts, :dedupe_key, :next_fire_at, :last_error, :created_at, :updated_at
)
ON CONFLICT (name) DO NOTHING
RETURNING name

-- name: change_schedule
UPDATE forge_cron
SET
    kind = :kind, payload = :payload, queue_name = :queue_name,
    cron_expr = :cron_expr, timezone = :timezone, enabled = :enabled,
    max_attempts = :max_attempts, dedupe_key = :dedupe_key,
    next_fire_at = :next_fire_at, last_error = :last_error, updated_at = :updated_at
WHERE name = :name

-- name: delete_schedule
DELETE FROM forge_cron
WHERE name = :name
RETURNING name
