-- An operator's changes of plain jobs, of which nothing else comes, in one statement: all of
-- the given jobs, or none. See :mod:`.plain_changes`. They are locked in the order of their
-- ids; ``number`` is how many they are.

-- fragment: chosen
-- Not by equality, after which a join may go through the jobs instead of the ids.
forge_job.id >= job.job_id AND forge_job.id <= job.job_id
    AND (SELECT COUNT(*) FROM job) = :number

-- fragment: chosen_in
(:status IS NULL OR COALESCE(status, '') = :status)
    AND id IN (SELECT v.job_id FROM /* rows v: job_id text */)

-- fragment: is_plain
-- Nobody waits for it, it has waited for nobody, and it is in no batch.
batch_id IS NULL AND ties IS NULL

-- fragment: seen_plain
-- The whole job, if it is the only one, for the answer that shows it.
FALSE AS asked, forge_job.queue_name, forge_job.kind,
CASE WHEN :number = 1 THEN JSON_ROW(/* use job_columns */)::text END,
CASE WHEN NOT :quiet THEN pg_notify('forge_jobs_wake', forge_job.queue_name)::text END

-- name: delete_plain
WITH job AS MATERIALIZED (
    SELECT id AS job_id
    FROM forge_job
    WHERE COALESCE(status, '') <> 'in_progress' AND /* use is_plain */
        AND /* use chosen_in */
    ORDER BY id
    /* for_update */
)
DELETE FROM forge_job
USING job
WHERE /* use chosen */ AND forge_job.status <> 'in_progress'
RETURNING FALSE AS asked, queue_name, kind, NULL, NULL
/* noted: asked */

-- name: cancel_plain
-- Ends waiting jobs, and asks running ones to stop. The answer to the latter is that the
-- request was accepted. The entry for their history lacks its attempt.
WITH job AS MATERIALIZED (
    SELECT id AS job_id, status = 'in_progress' AS runs
    FROM forge_job
    WHERE (
        status = 'in_progress'
        OR (
            COALESCE(status, '') IN (/* use waiting */) AND /* use is_plain */
            AND NOT EXISTS (
                SELECT 1
                FROM forge_follow_up AS f
                WHERE f.of_kind = forge_job.kind AND f.ending = 'cancelled'
            )
        )
    ) AND /* use chosen_in */
    ORDER BY id
    /* for_update */
)
UPDATE forge_job
SET
    status = CASE WHEN job.runs THEN status ELSE 'dead' END,
    completed_at = CASE WHEN job.runs THEN completed_at ELSE :now END,
    deferred = CASE WHEN job.runs THEN deferred ELSE FALSE END,
    last_error = CASE WHEN job.runs THEN last_error ELSE :error END,
    error_history = CASE WHEN job.runs THEN error_history ELSE
        forge_with_error(error_history, :entry_before || attempts || :entry_behind)
    END,
    signature = CASE WHEN job.runs THEN signature END,
    start_at = CASE WHEN job.runs THEN start_at END,
    cancel_requested_at = CASE
        WHEN job.runs THEN COALESCE(cancel_requested_at, :now) ELSE :now
    END,
    cancel_reason = CASE
        WHEN job.runs THEN COALESCE(cancel_reason, :reason) ELSE cancel_reason
    END
FROM job
WHERE /* use chosen */ AND (forge_job.status = 'in_progress') = job.runs
RETURNING job.runs AS asked, queue_name, kind, NULL, NULL
/* noted: asked */

-- name: retry_plain
-- A failed job has kept its dedupe key; a dead one may have to wait for it.
WITH job AS MATERIALIZED (
    SELECT id AS job_id
    FROM forge_job
    WHERE (
        COALESCE(status, '') = 'failed'
        OR (COALESCE(status, '') = 'dead' AND dedupe_key IS NULL AND /* use is_plain */)
    ) AND /* use chosen_in */
    ORDER BY id
    /* skip_locked */
)
UPDATE forge_job
SET /* use as_new */
FROM job
WHERE /* use chosen */ AND forge_job.status IN (/* use unsuccessful */)
RETURNING /* use seen_plain */
/* noted: asked */

-- name: run_plain_now
WITH job AS MATERIALIZED (
    SELECT id AS job_id
    FROM forge_job
    WHERE COALESCE(status, '') IN (/* use waiting */) AND start_at IS NULL
        AND /* use chosen_in */
    ORDER BY id
    /* for_update */
)
UPDATE forge_job
SET /* use due_now */
FROM job
WHERE /* use chosen */ AND forge_job.status IN (/* use waiting */)
RETURNING /* use seen_plain */
/* noted: asked */

-- name: reschedule_plain
WITH job AS MATERIALIZED (
    SELECT id AS job_id
    FROM forge_job
    WHERE COALESCE(status, '') IN (/* use waiting */) AND batch_id IS NULL
        AND (:may_wait OR start_at IS NULL)
        AND (
            :queue_name IS NULL
            OR EXISTS (SELECT 1 FROM forge_queue WHERE forge_queue.name = :queue_name)
        )
        AND /* use chosen_in */
    ORDER BY id
    /* for_update */
)
UPDATE forge_job
SET /* use rescheduled */
FROM job
WHERE /* use chosen */ AND forge_job.status IN (/* use waiting */)
RETURNING /* use seen_plain */
/* noted: asked */
