-- Seats of tasks that only so many jobs may run at once.

-- name: let_in
-- Served by forge_job_turned_away: the first of those who wait for a seat come back. Not
-- one whose process has died since: it waits for its retry.
WITH next AS MATERIALIZED (
    SELECT id
    FROM forge_job
    WHERE deferred AND seat_name = :seat AND seated_at IS NULL AND status = 'pending'
    ORDER BY priority, id
    LIMIT :seats
    /* skip_locked */
)
UPDATE forge_job
SET
    deferred = FALSE,
    scheduled_at = CASE WHEN scheduled_at > :now THEN :now ELSE scheduled_at END
WHERE deferred AND id IN (SELECT id FROM next)
RETURNING queue_name
