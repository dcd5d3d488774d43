-- fragment: counted_batches
-- With the changes that have not been folded.
(
    SELECT
        forge_batch.id, name, data,
        total + COALESCE(change.added, 0) AS total,
        forge_batch.done + COALESCE(change.done, 0) AS done,
        forge_batch.dead + COALESCE(change.dead, 0) AS dead,
        forge_batch.removed + COALESCE(change.removed, 0) AS removed,
        is_sealed, cancel_on_dead, cancel_requested_at, on_success, on_finished, on_dead,
        succeeded_at, finished_at, died_at, within, created_at, last_added_at,
        completed_at, queues
    FROM forge_batch
    LEFT JOIN LATERAL (
        SELECT
            SUM(added)::bigint AS added, SUM(done)::bigint AS done,
            SUM(dead)::bigint AS dead, SUM(removed)::bigint AS removed
        FROM forge_batch_change
        WHERE batch_id = forge_batch.id
    ) AS change ON TRUE
) AS b

-- fragment: running_members
forge_running_members() AS member

-- fragment: queues_of_batch
jsonb_array_elements_text(('[' || queues || ']')::jsonb) AS queue (value)

-- name: note_batch_changes
SELECT forge_note_changes(:rows)

-- name: fold_batch
SELECT /* use batch_columns */
FROM forge_fold_batch(:id)

-- name: changed_batches
-- A process that has noted changes folds them at once, unless it dies.
SELECT DISTINCT batch_id
FROM forge_batch_change
LIMIT :limit

-- name: add_batch_ranges
COPY forge_batch_range (batch_id, first_id, last_id) FROM STDIN

-- fragment: jobs_of_ranges
forge_jobs_of_batch(
    :id, :after, :limit, :any_status, :status, :may_be_cancelled, :may_wait
) AS job

-- fragment: first_of_ranges
forge_jobs_of_batch(forge_batch.id, '', 1, TRUE, NULL, FALSE, TRUE)
