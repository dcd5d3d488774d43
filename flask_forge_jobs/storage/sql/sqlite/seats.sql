-- What SQLite must say in its own way.

-- name: take_seat
-- Served by forge_job_seated; one writer at a time, so nobody counts beside another.
UPDATE forge_job
SET
    seat_name = :seat,
    seated_at = CASE
        WHEN (
            SELECT COUNT(*)
            FROM forge_job AS other
            WHERE other.seat_name = :seat AND other.status = 'in_progress'
                AND other.seated_at = other.started_at AND other.id <> :job_id
        ) < :most
            THEN started_at
    END
WHERE id = :job_id
    AND COALESCE(status, '') = 'in_progress'
    AND COALESCE(worker_id, '') = :worker_id
    AND claims = :run
-- Not IS NOT NULL: before 3.41 SQLite answers that with true here, whatever it stored.
RETURNING seated_at
