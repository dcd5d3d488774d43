-- Changes that operators make to jobs. COALESCE keeps the planner on the primary key: the
-- statistics lag behind the previous batch, and an index on the status would read all jobs
-- with that status for each id.

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
-- Skips running jobs, among them those claimed since the ids were picked.
DELETE FROM forge_job
WHERE status <> 'in_progress'
    AND id IN (SELECT v.job_id FROM /* rows v: job_id text */)
RETURNING id, batch_id, ties, status

-- name: delete_with_status
-- For bulk verbs. Skips jobs whose status has changed since the ids were picked.
DELETE FROM forge_job
WHERE COALESCE(status, '') = :status
    AND id IN (SELECT v.job_id FROM /* rows v: job_id text */)
RETURNING id, batch_id, ties, status

-- name: request_cancel
-- Requests running jobs to stop; keeps time and reason of the first request.
UPDATE forge_job
SET
    cancel_requested_at = COALESCE(cancel_requested_at, :now),
    cancel_reason = COALESCE(cancel_reason, :reason)
WHERE COALESCE(status, '') = 'in_progress'
    AND id IN (SELECT v.job_id FROM /* rows v: job_id text */)
RETURNING id

-- fragment: as_new
    status = 'pending', attempts = 0, throttle_attempts = 0, crashes = 0,
    scheduled_at = :now, deferred = FALSE, started_at = NULL, completed_at = NULL,
    cancel_requested_at = NULL, cancel_reason = NULL, result = NULL, progress = NULL,
    worker_id = NULL, heartbeat_at = NULL, start_at = NULL

-- name: requeue_jobs
-- Resets all attempts; the error text and history stay. Dead jobs take their keys again,
-- so the rows come in the order of keys that all statements lock in.
UPDATE forge_job
SET /* use as_new */
FROM /* rows v: job_id text */
-- Not by equality, after which a join may go through the jobs instead of the rows.
WHERE forge_job.id >= v.job_id AND forge_job.id <= v.job_id
    AND COALESCE(forge_job.status, '') IN (/* use unsuccessful */)
RETURNING forge_job.id, forge_job.queue_name

-- name: lock_requeueable
-- Leaves out dead jobs whose key an unfinished job has: forge_job_dedupe would refuse
-- them. Last, whether the job died with one that is still dead.
SELECT
    job.id, job.batch_id, job.ties, job.status,
    job.status = 'dead' AND job.start_at IS NOT NULL AND EXISTS (
        SELECT 1
        FROM forge_link AS link
        WHERE link.child_id = job.id AND link.ended = 'dead' AND link.on_dead = 'cancel'
            AND EXISTS (
                SELECT 1
                FROM forge_job AS parent
                WHERE parent.id = link.parent_id AND parent.status = 'dead'
            )
    )
FROM forge_job AS job
WHERE COALESCE(job.status, '') IN (/* use unsuccessful */)
    AND job.id IN (SELECT v.job_id FROM /* rows v: job_id text */)
    AND (
        job.dedupe_key IS NULL
        OR job.status = 'failed'
        OR NOT EXISTS (
            SELECT 1
            FROM forge_job AS sibling
            WHERE sibling.dedupe_key = job.dedupe_key
                AND sibling.dedupe_key IS NOT NULL
                AND sibling.status IN (/* use unfinished */)
        )
    )
ORDER BY job.id
/* skip_locked_of_job */

-- name: dedupe_keys
SELECT id, dedupe_key
FROM forge_job
WHERE COALESCE(dedupe_key, '') <> ''
    AND id IN (SELECT v.job_id FROM /* rows v: job_id text */)

-- name: combinations
-- A page of the queues and kinds that have jobs of a status; SQLite reads no more than
-- that by the primary key.
SELECT queue_name, kind
FROM forge_job_count
WHERE status = :status
    AND (queue_name, kind) > (:queue_name, :kind)
    AND (
        :queues IS NULL
        OR queue_name IN (SELECT v.name FROM /* rows v: name text = :queues */)
    )
    AND (
        :kinds IS NULL
        OR kind IN (SELECT w.name FROM /* rows w: name text = :kinds */)
    )
GROUP BY queue_name, kind
HAVING SUM(jobs) > 0
ORDER BY queue_name, kind
LIMIT :limit

-- name: walk
-- Served by forge_job_list: the next jobs of one status, queue and kind, matching or not,
-- so a rare match does not make a step long.
SELECT enqueued_at, id, /* use matches */
FROM forge_job
WHERE queue_name = :queue_name AND kind = :kind AND status = :status
    AND (enqueued_at, id) > (:after_at, :after_id) AND enqueued_at <= :to_at
ORDER BY enqueued_at, id
LIMIT :limit

-- fragment: due_now
-- Never moves an overdue job back.
    scheduled_at = CASE WHEN scheduled_at > :now THEN :now ELSE scheduled_at END,
    deferred = FALSE

-- name: run_now
UPDATE forge_job
SET /* use due_now */
WHERE COALESCE(status, '') IN (/* use waiting */) AND start_at IS NULL
    AND id IN (SELECT v.job_id FROM /* rows v: job_id text */)
RETURNING id, queue_name

-- fragment: rescheduled
-- A past time means now; NULL leaves a column alone. A key that is unique within its queue
-- is dropped when the job moves to another. Of a job that waits for others, the time is
-- that of its start once they have ended; bulk actions leave such a job alone.
    start_at = CASE
        WHEN start_at IS NULL OR :run_at IS NULL THEN start_at
        WHEN :run_at > :now THEN :run_at
        ELSE :now
    END,
    scheduled_at = CASE
        WHEN start_at IS NOT NULL OR :run_at IS NULL THEN scheduled_at
        WHEN :run_at > :now THEN :run_at
        ELSE :now
    END,
    deferred = CASE
        WHEN start_at IS NOT NULL OR :run_at IS NULL THEN deferred
        ELSE :run_at > :now
    END,
    priority = COALESCE(:priority, priority),
    queue_name = COALESCE(:queue_name, queue_name),
    dedupe_key = CASE
        WHEN :queue_name IS NULL OR :queue_name = queue_name THEN dedupe_key
        WHEN SUBSTR(dedupe_key, LENGTH(dedupe_key) - LENGTH(queue_name))
            = :own_mark || queue_name THEN NULL
        ELSE dedupe_key
    END,
    -- A new time replaces the wait for a concurrency limit.
    concurrency_key = CASE WHEN :run_at IS NULL THEN concurrency_key END

-- name: reschedule
UPDATE forge_job
SET /* use rescheduled */
WHERE COALESCE(status, '') IN (/* use waiting */) AND (:may_wait OR start_at IS NULL)
    AND id IN (SELECT v.job_id FROM /* rows v: job_id text */)
RETURNING id, queue_name

-- name: lock_waiting
SELECT id, attempts, error_history
FROM forge_job
WHERE COALESCE(status, '') IN (/* use waiting */)
    AND id IN (SELECT v.job_id FROM /* rows v: job_id text */)
ORDER BY id
/* for_update */

-- name: cancel_waiting
-- Jobs that wait for their start or a retry end at once.
UPDATE forge_job
SET
    status = 'dead', completed_at = :now, deferred = FALSE, last_error = v.error,
    error_history = v.history,
    cancel_requested_at = CASE WHEN :by_user THEN :now END, signature = NULL,
    start_at = NULL
FROM /* rows v: job_id text, error text, history text */
WHERE forge_job.id = v.job_id
    AND COALESCE(forge_job.status, '') IN (/* use waiting */)
RETURNING
    forge_job.id,
    EXISTS (
        SELECT 1
        FROM forge_follow_up AS f
        WHERE f.of_kind = forge_job.kind AND f.ending = 'cancelled'
    ),
    forge_job.queue_name, forge_job.kind, forge_job.batch_id, forge_job.ties

-- name: superseded
-- Repairs imported rows; with forge_job_dedupe there are none.
SELECT job.id
FROM forge_job AS job
WHERE job.status = 'failed'
    AND EXISTS (
        SELECT 1
        FROM forge_job AS sibling
        WHERE sibling.dedupe_key = job.dedupe_key
            AND sibling.dedupe_key IS NOT NULL
            AND sibling.status IN (/* use unfinished */)
            AND (sibling.status <> 'failed' OR sibling.id > job.id)
    )
ORDER BY job.id
LIMIT :limit
/* skip_locked_of_job */

-- name: statuses
SELECT id, status, start_at
FROM forge_job
WHERE id IN (SELECT v.job_id FROM /* rows v: job_id text */)

-- name: fold_counts
-- SQLite counts in place, so only counts of 0 are deleted.
DELETE FROM forge_job_count
WHERE jobs = 0
    AND (SELECT COUNT(*) > :worthwhile FROM forge_job_count WHERE jobs = 0)
RETURNING jobs
