-- Seats of tasks that only so many jobs may run at once. A seat is taken for as long as its
-- job runs in the run that took it, so whatever ends the run frees the seat.
ALTER TABLE forge_job ADD COLUMN seat_name TEXT;
-- The start of the run that took it; NULL for a job that was turned away.
ALTER TABLE forge_job ADD COLUMN seated_at INTEGER;
CREATE INDEX forge_job_seated ON forge_job (seat_name)
    WHERE status = 'in_progress' AND seat_name IS NOT NULL;
CREATE INDEX forge_job_turned_away ON forge_job (seat_name, priority, id)
    WHERE deferred AND seat_name IS NOT NULL AND seated_at IS NULL;
