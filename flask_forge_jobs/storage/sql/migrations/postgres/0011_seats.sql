-- Seats of tasks that only so many jobs may run at once. A seat is taken for as long as its
-- job runs in the run that took it, so whatever ends the run frees the seat.
ALTER TABLE forge_job ADD COLUMN seat_name TEXT COLLATE "C";
-- The start of the run that took it; NULL for a job that was turned away.
ALTER TABLE forge_job ADD COLUMN seated_at BIGINT;
CREATE INDEX forge_job_seated ON forge_job (seat_name)
    WHERE status = 'in_progress' AND seat_name IS NOT NULL;
CREATE INDEX forge_job_turned_away ON forge_job (seat_name, priority, id)
    WHERE deferred AND seat_name IS NOT NULL AND seated_at IS NULL;

-- Whether the job has its seat. Who asks for the same seats at the same time waits, and
-- counts then what the one before has stored.
CREATE FUNCTION forge_take_seat(
    its_id TEXT, its_owner TEXT, its_run INTEGER, its_seats TEXT, most INTEGER
) RETURNS BOOLEAN LANGUAGE plpgsql
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    taken BIGINT;
    is_seated BOOLEAN;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('forge_jobs seat ' || its_seats, 0));
    SELECT count(*)
    INTO taken
    FROM forge_job AS other
    WHERE other.seat_name = its_seats AND other.status = 'in_progress'
        AND other.seated_at = other.started_at AND other.id <> its_id;
    UPDATE forge_job AS job
    SET
        seat_name = its_seats,
        seated_at = CASE WHEN taken < most THEN job.started_at END
    WHERE job.id = its_id
        AND coalesce(job.status, '') = 'in_progress'
        AND coalesce(job.process_id, '') = its_owner
        AND job.attempts = its_run
    RETURNING job.seated_at IS NOT NULL INTO is_seated;
    RETURN is_seated;
END
$$;
