-- fragment: counted_batches
-- SQLite counts in place.
forge_batch AS b

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
SELECT 1

-- name: changed_batches
-- None: changes are counted and settled by the transaction that makes them.
SELECT id
FROM forge_batch
WHERE FALSE AND :limit > 0

-- name: add_batch_jobs
INSERT INTO forge_batch_job (batch_id, job_id)
VALUES (?, ?)
