-- fragment: counted_batches
-- SQLite counts in place.
forge_batch AS b

-- fragment: running_members
-- Served by forge_job_running.
(
    SELECT id, batch_id
    FROM forge_job
    WHERE status = 'in_progress' AND batch_id IS NOT NULL
) AS member

-- fragment: queues_of_batch
json_each('[' || queues || ']') AS queue

-- name: note_batch_changes
UPDATE forge_batch
SET
    total = total + v.added, done = forge_batch.done + v.done,
    dead = forge_batch.dead + v.dead, removed = forge_batch.removed + v.removed
FROM /* rows v: batch_id text, added bigint, done bigint, dead bigint, removed bigint */
WHERE forge_batch.id = v.batch_id

-- name: fold_batch
-- Nothing is left to be added.
SELECT /* use batch_columns */
FROM forge_batch
WHERE id = :id

-- name: changed_batches
-- None: changes are counted and settled by the transaction that makes them.
SELECT id
FROM forge_batch
WHERE FALSE AND :limit > 0

-- name: add_batch_ranges
INSERT INTO forge_batch_range (batch_id, first_id, last_id)
VALUES (?, ?, ?)

-- fragment: jobs_of_ranges
-- The join keeps its order, which is that of the ids.
forge_batch_range AS r
CROSS JOIN forge_job AS job
WHERE r.batch_id = :id AND r.last_id > :after
    AND job.id > :after AND job.id >= r.first_id AND job.id <= r.last_id
    AND COALESCE(job.batch_id, '') = :id
    AND (
        :any_status OR COALESCE(job.status, '') = :status
        OR (
            :may_be_cancelled AND COALESCE(job.status, '') IN (/* use unfinished */)
            AND (job.cancel_requested_at IS NULL OR job.status <> 'in_progress')
        )
    )
    AND (:may_wait OR job.start_at IS NULL)
ORDER BY r.first_id, job.id
LIMIT :limit

-- fragment: first_of_ranges
forge_batch_range AS r
    CROSS JOIN forge_job AS job
    WHERE r.batch_id = forge_batch.id
        AND job.id >= r.first_id AND job.id <= r.last_id
        AND COALESCE(job.batch_id, '') = r.batch_id
