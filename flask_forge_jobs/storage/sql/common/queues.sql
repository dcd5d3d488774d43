-- Settings of each queue.

-- name: get_queue
SELECT
    name, max_workers, paused, retain_done_for_days, retain_dead_for_days,
    backoff_enabled, backoff_base_seconds, backoff_max_seconds, throttle_attempts,
    throttled_until, updated_at
FROM forge_queue
WHERE name = :name

-- name: all_queues
SELECT
    name, max_workers, paused, retain_done_for_days, retain_dead_for_days,
    backoff_enabled, backoff_base_seconds, backoff_max_seconds, throttle_attempts,
    throttled_until, updated_at
FROM forge_queue
ORDER BY name

-- name: set_max_workers
UPDATE forge_queue
SET max_workers = :max_workers, updated_at = :now
WHERE name = :name

-- name: set_paused
UPDATE forge_queue
SET paused = :paused, updated_at = :now
WHERE name = :name

-- name: set_retention
UPDATE forge_queue
SET
    retain_done_for_days = :done_days, retain_dead_for_days = :dead_days,
    updated_at = :now
WHERE name = :name

-- name: set_backoff
UPDATE forge_queue
SET
    backoff_enabled = :enabled, backoff_base_seconds = :base_seconds,
    backoff_max_seconds = :max_seconds, updated_at = :now
WHERE name = :name

-- name: clear_cooldown
UPDATE forge_queue
SET throttle_attempts = 0, throttled_until = NULL, updated_at = :now
WHERE name = :name

-- name: jobs_of_queue
SELECT COALESCE(SUM(jobs), 0)
FROM forge_job_count
WHERE queue_name = :name

-- name: delete_queue
DELETE FROM forge_queue
WHERE name = :name
