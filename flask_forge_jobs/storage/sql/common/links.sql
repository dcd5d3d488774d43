-- Jobs that wait for others. All statements lock jobs in the order of their ids.

-- name: lock_parents
-- The parents of a new job. Whoever ends one of them has either done so, or waits for this
-- transaction and then finds the links.
SELECT id, kind, status
FROM forge_job
WHERE id IN (SELECT v.job_id FROM /* rows v: job_id text */)
ORDER BY id
/* for_no_key_update */

-- name: unfinished_parents
-- Read beside a caller's transaction, whose own jobs nobody sees yet.
SELECT id
FROM forge_job
WHERE COALESCE(status, '') IN (/* use unfinished */)
    AND id IN (SELECT v.parent_id FROM /* rows v: parent_id text */)
UNION ALL
SELECT id
FROM forge_batch
WHERE completed_at IS NULL
    AND id IN (SELECT v.parent_id FROM /* rows v: parent_id text */)
ORDER BY id

-- name: dependents
-- What cannot end before jobs or batches do: jobs that wait for them, the batches of jobs,
-- and the batches around batches.
SELECT child_id
FROM forge_link
WHERE ended IS NULL AND parent_id IN (SELECT v.id FROM /* rows v: id text */)
UNION
SELECT batch_id
FROM forge_job
WHERE batch_id IS NOT NULL AND COALESCE(status, '') IN (/* use unfinished */)
    AND id IN (SELECT v.id FROM /* rows v: id text */)
UNION
SELECT within
FROM forge_batch
WHERE within IS NOT NULL AND id IN (SELECT v.id FROM /* rows v: id text */)

-- name: mark_parents
UPDATE forge_job
SET ties = COALESCE(ties, 0) | 1
WHERE id IN (SELECT v.job_id FROM /* rows v: job_id text */)
    AND COALESCE(ties, 0) & 1 = 0

-- name: tie_jobs
-- Jobs that have been stored just now by a statement that knows neither.
UPDATE forge_job
SET
    batch_id = v.batch_id,
    ties = v.ties,
    start_at = v.start_at,
    scheduled_at = CASE WHEN v.start_at IS NULL THEN scheduled_at ELSE :end_of_time END,
    deferred = CASE WHEN v.start_at IS NULL THEN deferred ELSE TRUE END
FROM /* rows v: job_id text, batch_id text, ties integer, start_at bigint */
WHERE forge_job.id = v.job_id

-- name: crowded_parents
-- Served by forge_link_parent: those for which too many jobs wait.
SELECT parent_id, COUNT(*)
FROM forge_link
WHERE ended IS NULL AND parent_id IN (SELECT v.job_id FROM /* rows v: job_id text */)
GROUP BY parent_id
HAVING COUNT(*) > :max_waiting

-- name: note_holds
-- For what needs attention: the jobs that wait on for dead parents.
INSERT INTO forge_hold (parent_id, child_id)
SELECT parent_id, child_id
FROM forge_link
WHERE ended IS NULL AND on_dead = 'hold'
    AND parent_id IN (SELECT v.parent_id FROM /* rows v: parent_id text */)
ON CONFLICT DO NOTHING

-- name: drop_ended_holds
DELETE FROM forge_hold
WHERE NOT EXISTS (
    SELECT 1
    FROM forge_link
    WHERE forge_link.child_id = forge_hold.child_id
        AND forge_link.parent_id = forge_hold.parent_id AND ended IS NULL
)

-- name: end_children
-- Jobs that die with a parent. They keep their start, so that both may be tried again.
UPDATE forge_job
SET
    status = 'dead', completed_at = :now, deferred = FALSE, scheduled_at = start_at,
    last_error = v.error, error_history = v.history, signature = NULL
FROM /* rows v: job_id text, error text, history text */
WHERE forge_job.id = v.job_id AND start_at IS NOT NULL
    AND COALESCE(status, '') = 'pending'

-- fragment: freed
-- Starts once its own time has come.
scheduled_at = GREATEST(start_at, :now),
deferred = start_at > :now,
start_at = NULL

-- name: release_links
-- Lets a job wait for nothing more.
UPDATE forge_link
SET ended = 'released'
WHERE child_id = :id AND ended IS NULL

-- name: reopenable_children
-- Jobs that have died with one of the given parents and never ran.
SELECT id, batch_id, ties
FROM forge_job
WHERE start_at IS NOT NULL AND COALESCE(status, '') = 'dead'
    AND id IN (
        SELECT child_id
        FROM forge_link
        WHERE ended = 'dead' AND on_dead = 'cancel'
            AND parent_id IN (SELECT v.parent_id FROM /* rows v: parent_id text */)
    )
ORDER BY id
/* for_no_key_update */

-- name: reopen_links
UPDATE forge_link
SET ended = NULL, result = NULL, error = NULL
WHERE ended = 'dead' AND on_dead = 'cancel'
    AND parent_id IN (SELECT v.parent_id FROM /* rows v: parent_id text */)
    AND child_id IN (
        SELECT id
        FROM forge_job
        WHERE start_at IS NOT NULL AND status = 'dead' AND id = forge_link.child_id
    )

-- name: reopen_children
UPDATE forge_job
SET
    status = 'pending', deferred = TRUE, scheduled_at = :end_of_time,
    completed_at = NULL
WHERE start_at IS NOT NULL AND COALESCE(status, '') = 'dead'
    AND id IN (SELECT v.job_id FROM /* rows v: job_id text */)

-- name: forget_links
-- Those of deleted jobs that have waited for others.
DELETE FROM forge_link
WHERE child_id IN (SELECT v.job_id FROM /* rows v: job_id text */)

-- fragment: ties_of_job
-- The queues of the batch of a job, and its parents and dependents as JSON text, the first
-- hundred of each; results of more than 4 KiB are left out. A plain job has none.
CASE WHEN batch_id IS NOT NULL THEN (
    SELECT queues FROM forge_batch WHERE forge_batch.id = forge_job.batch_id
) END,
CASE WHEN ties IS NOT NULL THEN CAST(
    (
        SELECT JSON_LIST(
            JSON_ROW(
                parent_id, parent_kind, on_dead, ended,
                CASE WHEN LENGTH(result) <= 4096 THEN result END,
                error, queue_name, status, queues
            )
        )
        FROM (
            SELECT
                l.parent_id, l.parent_kind, l.on_dead, l.ended, l.result, l.error,
                parent.queue_name, parent.status, b.queues
            FROM forge_link AS l
            LEFT JOIN forge_job AS parent ON parent.id = l.parent_id
            LEFT JOIN forge_batch AS b ON b.id = l.parent_id
            WHERE l.child_id = forge_job.id
            ORDER BY l.parent_id
            LIMIT 100
        ) AS first_parents
    ) AS TEXT
) END,
CASE WHEN ties IS NOT NULL THEN CAST(
    (
        SELECT JSON_LIST(
            JSON_ROW(child_id, kind, queue_name, status, on_dead, ended, start_at)
        )
        FROM (
            SELECT
                l.child_id, child.kind, child.queue_name, child.status, l.on_dead, l.ended,
                child.start_at
            FROM forge_link AS l
            INNER JOIN forge_job AS child ON child.id = l.child_id
            WHERE l.parent_id = forge_job.id
            ORDER BY l.child_id
            LIMIT 100
        ) AS first_children
    ) AS TEXT
) END

-- name: parents_of_job
-- Served by the primary key.
SELECT
    l.parent_id, l.parent_kind, l.on_dead, l.ended, l.result, l.error,
    job.queue_name, job.status
FROM forge_link AS l
LEFT JOIN forge_job AS job ON job.id = l.parent_id
WHERE l.child_id = :id
ORDER BY l.parent_id
LIMIT :limit

-- name: dependents_of_job
-- Served by forge_link_parent.
SELECT
    l.child_id, job.kind, job.queue_name, job.status, l.on_dead, l.ended,
    job.start_at
FROM forge_link AS l
INNER JOIN forge_job AS job ON job.id = l.child_id
WHERE l.parent_id = :id
ORDER BY l.child_id
LIMIT :limit
