-- What PostgreSQL must say in its own way. What runs for a single job is a function of
-- the schema: the server keeps its plan, where it would parse and plan the statement
-- anew each time, which takes longer than running it.

-- name: enqueue
-- The wake-up is part of it: one round trip, one commit, and a rolled-back job wakes
-- nobody. One row: when the job may start, NULL when nothing was stored. It is
-- not asked for in FROM, which takes the server longer to plan than all the rest. The
-- check of the version comes last: a step that shuts out this code locks the table, and
-- who has waited for it finds the check that it has left.
SELECT
    forge_enqueue(
        :id, :queue_name, :kind, :payload, :priority, :run_at, :max_attempts,
        :dedupe_key, :timeout_s, :schedule_name, :carried
    ),
    forge_check_version(:known)

-- name: enqueue_quietly
-- The same without the wake-up, for when the server cannot take it. Seldom enough to be
-- planned each time.
WITH stored AS (
    INSERT INTO forge_job (
        id, queue_name, kind, payload, priority, enqueued_at, scheduled_at, deferred,
        max_attempts, dedupe_key, timeout_s, schedule_name, carried
    )
    VALUES (
        :id, :queue_name, :kind, :payload, :priority, :now,
        GREATEST(:run_at::bigint, :now), COALESCE(:run_at::bigint > :now, FALSE),
        :max_attempts, :dedupe_key, :timeout_s, :schedule_name, :carried
    )
    ON CONFLICT DO NOTHING
    RETURNING scheduled_at
)
SELECT (SELECT scheduled_at FROM stored), forge_check_version(:known)

-- name: claim
SELECT *
FROM forge_claim(:queue_name, :worker_id, :limit)

-- name: finish
SELECT id
FROM forge_finish(:worker_id, :rows) AS id

-- name: append_jobs
-- COPY writes its rows a page at a time, where INSERT writes and logs each by itself.
COPY forge_job (
    id, queue_name, kind, payload, priority, enqueued_at, scheduled_at, deferred,
    max_attempts, timeout_s, carried
) FROM STDIN

-- name: notify
SELECT pg_notify('forge_jobs_wake', :queue_name)::text

-- name: whose_tables
-- Tells this server, since its last start, this database and this schema from others.
SELECT
    extract(epoch FROM pg_postmaster_start_time())::text,
    (SELECT oid::bigint FROM pg_database WHERE datname = current_database()),
    to_regclass('forge_job')::oid::bigint

-- name: takes_writes
-- A standby does not, nor does a server that was told so.
SELECT CASE WHEN current_setting('transaction_read_only') = 'off' THEN 1 ELSE 0 END
