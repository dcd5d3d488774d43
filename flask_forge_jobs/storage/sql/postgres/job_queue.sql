-- What PostgreSQL must say in its own way.

-- name: enqueue
-- The wake-up is part of the statement: one round trip, one commit, and a rolled-back
-- job wakes nobody (D32).
WITH added AS (
    INSERT INTO forge_job (
        id, queue_name, kind, payload, priority, enqueued_at, scheduled_at, deferred,
        max_attempts, dedupe_key, timeout_s
    )
    VALUES (
        :id, :queue_name, :kind, :payload, :priority, :now,
        CASE WHEN :run_at > :now THEN :run_at ELSE :now END,
        COALESCE(:run_at > :now, FALSE),
        :max_attempts, :dedupe_key, :timeout_s
    )
    ON CONFLICT DO NOTHING
    RETURNING id
)
SELECT id, pg_notify('forge_jobs_wake', :queue_name)::text
FROM added

-- name: notify
SELECT pg_notify('forge_jobs_wake', :queue_name)::text
