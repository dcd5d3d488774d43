-- Statements for a single job are functions of the schema: the server keeps their plans,
-- which take longer to make than to run.

-- name: enqueue
-- Returns when the job may start, or NULL if nothing was stored. The function also sends
-- the wake-up, so a rolled-back job wakes nobody. It is not in FROM, which takes longer to
-- plan than all the rest. The version is checked last: after waiting for a schema step's
-- lock, the insert must meet the new check.
SELECT
    forge_enqueue(/* use new_job_parameters */),
    forge_check_version(:known)

-- name: enqueue_noted
-- The same with the entry of a request that does no more. No row if nothing was stored, or
-- if nobody may be notified.
WITH made AS MATERIALIZED (
    SELECT stored.scheduled_at, forge_check_version(:known)
    FROM (
        SELECT
            CASE
                WHEN NOT :quiet THEN forge_enqueue(/* use new_job_parameters */)
            END AS scheduled_at
        OFFSET 0
    ) AS stored
    WHERE stored.scheduled_at IS NOT NULL
)
/* use entry_of_change */
/* use answer_of_plain_change */

-- name: enqueue_few
-- Plain jobs, each once: if they come again, because the answer was lost, those that are
-- there.
WITH stored AS (
    /* use insert_many */,
        CASE WHEN NOT :quiet THEN pg_notify('forge_jobs_wake', queue_name)::text END
)
/* change */
SELECT id, scheduled_at
FROM stored
UNION ALL
SELECT id, scheduled_at
FROM forge_job
WHERE id IN (SELECT v.id FROM /* rows v: id text */)
/* noted */

-- name: enqueue_early
-- The same for a message of its own: it wakes the workers before the disk has the job.
CALL forge_enqueue_early(/* use new_job_parameters */, :known)

-- name: enqueue_early_noted
-- The same with the entry of a request that does no more.
CALL forge_enqueue_early(
    /* use new_job_parameters */, :known, NULL,
    :actor, :action, :target, :address, :request_id, :http_status, :changed, :arguments,
    :requests
)

-- fragment: on_disk
-- Others see a job before the disk has it. A transaction that writes nothing would not
-- wait for the disk, so it writes a message, which is behind the job in the log.
pg_logical_emit_message(TRUE, 'forge_jobs', '') IS NOT NULL

-- name: enqueued_early
-- Whether that has stored the job; then the disk has it, too.
SELECT scheduled_at, pg_logical_emit_message(TRUE, 'forge_jobs', '')::text
FROM forge_job
WHERE id = :id

-- name: enqueue_quietly
-- The same without the wake-up, for when the notification queue is full. Too rare to need
-- a function.
WITH stored AS (
    INSERT INTO forge_job (/* use new_job_columns */)
    VALUES (
        :id, :queue_name, :dedupe_key, :now,
        GREATEST(:run_at::bigint, :now - :run_at::bigint, :now),
        COALESCE(:run_at::bigint > :now OR :run_at::bigint < 0, FALSE),
        /* use copied_parameters */
    )
    ON CONFLICT DO NOTHING
    RETURNING scheduled_at
)
SELECT (SELECT scheduled_at FROM stored), forge_check_version(:known)

-- name: promote
SELECT forge_promote(:queue_name)

-- name: claim
SELECT *
FROM forge_claim(:queue_name, :worker_id, :limit)

-- name: claim_alone
-- For an idle worker, whose message has nothing else. It may begin at a place.
SELECT *
FROM forge_claim(
    :queue_name, :worker_id, :limit, :priority, :moment::bigint, TRUE, :known
)

-- name: finish
SELECT *
FROM forge_finish(:worker_id, :rows)

-- name: exchange
SELECT *
FROM forge_exchange(
    :worker_id, :grace_us, :done_queues, :job_ids, :runs, :results,
    :from_queues, :limits, :priorities, :moments, :promotes, TRUE, :known
)

-- name: exchange_quietly
-- The same without a wake-up for the jobs that it frees.
SELECT *
FROM forge_exchange(
    :worker_id, :grace_us, :done_queues, :job_ids, :runs, :results,
    :from_queues, :limits, :priorities, :moments, :promotes, FALSE, :known
)

-- name: append_jobs
-- COPY writes and logs a page of rows at a time, INSERT each row.
COPY forge_job (/* use row_columns */) FROM STDIN

-- name: append_tied_jobs
COPY forge_job (/* use tied_row_columns */) FROM STDIN

-- name: notify
SELECT pg_notify('forge_jobs_wake', :queue_name)::text

-- name: whose_tables
-- Identifies this server since its last start, this database and this schema.
SELECT
    extract(epoch FROM pg_postmaster_start_time())::text,
    (SELECT oid::bigint FROM pg_database WHERE datname = current_database()),
    to_regclass('forge_job')::oid::bigint

-- name: which_cluster
-- The same on a primary and on its standbys, and after a restart. Copies that were
-- restored from a backup have it too.
SELECT system_identifier::text FROM pg_control_system()

-- name: takes_writes
-- 0 on a standby and on a server set to read-only.
SELECT CASE WHEN current_setting('transaction_read_only') = 'off' THEN 1 ELSE 0 END
