-- Which instant of its schedule a job stands for; no other job may stand for it.
ALTER TABLE forge_job ADD COLUMN fire_at INTEGER;
CREATE UNIQUE INDEX forge_job_firing ON forge_job (schedule_name, fire_at)
    WHERE fire_at IS NOT NULL;

-- What becomes of firings that were missed.
ALTER TABLE forge_cron ADD COLUMN catch_up TEXT NOT NULL DEFAULT 'once';
ALTER TABLE forge_cron ADD COLUMN catch_up_limit INTEGER NOT NULL DEFAULT 100;
-- The application whose code has the schedule, and what it said last.
ALTER TABLE forge_cron ADD COLUMN declared_by TEXT;
ALTER TABLE forge_cron ADD COLUMN declared_as TEXT;
