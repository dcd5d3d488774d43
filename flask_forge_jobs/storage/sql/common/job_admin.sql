-- What an operator does to jobs.
--
-- COALESCE keeps the planner on the primary key: the statistics do not know yet what the
-- batch before this one has changed, and by an index on the state it would walk all jobs
-- in that state for each id.

-- name: lock_job
SELECT status
FROM forge_job
WHERE id = :id
/* for_update */

-- name: lock_jobs
SELECT id
FROM forge_job
WHERE id IN (SELECT v.job_id FROM /* rows v: job_id text */)
ORDER BY id
/* for_update */

-- name: delete_jobs
-- Deletes what is not running and repeats the condition, so that a job claimed in
-- between survives.
DELETE FROM forge_job
WHERE status <> 'in_progress'
    AND id IN (SELECT v.job_id FROM /* rows v: job_id text */)
RETURNING id

-- name: delete_with_status
-- For bulk verbs, which picked the ids before they locked them: what has been claimed,
-- requeued or finished in between is left alone.
DELETE FROM forge_job
WHERE COALESCE(status, '') = :status
    AND id IN (SELECT v.job_id FROM /* rows v: job_id text */)
RETURNING id

-- name: request_cancel
-- Asks running jobs to stop; asking twice keeps the first time.
UPDATE forge_job
SET cancel_requested_at = COALESCE(cancel_requested_at, :now)
WHERE COALESCE(status, '') = 'in_progress'
    AND id IN (SELECT v.job_id FROM /* rows v: job_id text */)
RETURNING id

-- name: requeue_jobs
-- A full new budget; the error text and the history stay. The rows come in the order
-- of their keys, which dead jobs take again: whoever else takes keys goes by it too.
UPDATE forge_job
SET
    status = 'pending', attempts = 0, throttle_attempts = 0, crashes = 0,
    scheduled_at = :now, deferred = FALSE, started_at = NULL, completed_at = NULL,
    cancel_requested_at = NULL, result = NULL, progress = NULL, worker_id = NULL,
    heartbeat_at = NULL
FROM /* rows v: job_id text */
WHERE forge_job.id = v.job_id
    AND COALESCE(forge_job.status, '') IN ('failed', 'dead')
RETURNING forge_job.id, forge_job.queue_name

-- name: lock_requeueable
-- Dead jobs whose key an unfinished sibling holds are left out, and of several with one
-- key only the first goes: the unique index would refuse the rest.
SELECT job.id
FROM forge_job AS job
WHERE COALESCE(job.status, '') IN ('failed', 'dead')
    AND job.id IN (SELECT v.job_id FROM /* rows v: job_id text */)
    AND (
        job.dedupe_key IS NULL
        OR job.status = 'failed'
        OR NOT EXISTS (
            SELECT 1
            FROM forge_job AS sibling
            WHERE sibling.dedupe_key = job.dedupe_key
                AND sibling.dedupe_key IS NOT NULL
                AND sibling.status IN ('pending', 'in_progress', 'failed')
        )
    )
ORDER BY job.id
/* skip_locked_of_job */

-- name: dedupe_keys
SELECT id, dedupe_key
FROM forge_job
WHERE COALESCE(dedupe_key, '') <> ''
    AND id IN (SELECT v.job_id FROM /* rows v: job_id text */)

-- name: walk
-- Served by forge_job_list: the next jobs of one state, queue and kind, those that do
-- not match among them, so that a rare match does not make a step long.
SELECT enqueued_at, id, /* use matches */
FROM forge_job
WHERE queue_name = :queue_name AND kind = :kind AND status = :status
    AND (enqueued_at, id) > (:after_at, :after_id) AND enqueued_at <= :to_at
ORDER BY enqueued_at, id
LIMIT :limit

-- name: run_now
-- Never moves an overdue job back.
UPDATE forge_job
SET
    scheduled_at = CASE WHEN scheduled_at > :now THEN :now ELSE scheduled_at END,
    deferred = FALSE
WHERE COALESCE(status, '') IN ('pending', 'failed')
    AND id IN (SELECT v.job_id FROM /* rows v: job_id text */)
RETURNING id, queue_name

-- name: reschedule
-- The past means now; NULL leaves things as they are. A key of one queue stays behind.
UPDATE forge_job
SET
    scheduled_at = CASE
        WHEN :run_at IS NULL THEN scheduled_at
        WHEN :run_at > :now THEN :run_at
        ELSE :now
    END,
    deferred = CASE WHEN :run_at IS NULL THEN deferred ELSE :run_at > :now END,
    priority = COALESCE(:priority, priority),
    queue_name = COALESCE(:queue_name, queue_name),
    dedupe_key = CASE
        WHEN :queue_name IS NULL OR :queue_name = queue_name THEN dedupe_key
        WHEN SUBSTR(dedupe_key, LENGTH(dedupe_key) - LENGTH(queue_name))
            = :own_mark || queue_name THEN NULL
        ELSE dedupe_key
    END,
    -- Its time is chosen now: no run that ends brings it forward.
    concurrency_key = CASE WHEN :run_at IS NULL THEN concurrency_key END
WHERE COALESCE(status, '') IN ('pending', 'failed')
    AND id IN (SELECT v.job_id FROM /* rows v: job_id text */)
RETURNING id, queue_name

-- name: lock_waiting
SELECT id, attempts, error_history
FROM forge_job
WHERE COALESCE(status, '') IN ('pending', 'failed')
    AND id IN (SELECT v.job_id FROM /* rows v: job_id text */)
ORDER BY id
/* for_update */

-- name: cancel_waiting
-- What waits for its start or for a retry ends at once.
UPDATE forge_job
SET
    status = 'dead', completed_at = :now, deferred = FALSE, last_error = v.error,
    error_history = v.history
FROM /* rows v: job_id text, error text, history text */
WHERE forge_job.id = v.job_id
    AND COALESCE(forge_job.status, '') IN ('pending', 'failed')
RETURNING
    forge_job.id,
    EXISTS (
        SELECT 1
        FROM forge_follow_up AS f
        WHERE f.of_kind = forge_job.kind AND f.ending = 'cancelled'
    )

-- name: superseded
-- A repair of imported rows; beside forge_job_dedupe there are none.
SELECT job.id
FROM forge_job AS job
WHERE job.status = 'failed'
    AND EXISTS (
        SELECT 1
        FROM forge_job AS sibling
        WHERE sibling.dedupe_key = job.dedupe_key
            AND sibling.dedupe_key IS NOT NULL
            AND (
                sibling.status IN ('pending', 'in_progress')
                OR (sibling.status = 'failed' AND sibling.id > job.id)
            )
    )
ORDER BY job.id
LIMIT :limit
/* skip_locked_of_job */

-- name: statuses
SELECT id, status
FROM forge_job
WHERE id IN (SELECT v.job_id FROM /* rows v: job_id text */)

-- name: fold_counts
-- Nothing to fold: this backend counts in place.
SELECT 0
