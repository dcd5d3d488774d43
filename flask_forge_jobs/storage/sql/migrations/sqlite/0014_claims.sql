-- How often the job was claimed; never counted down nor begun anew, so it tells one run of
-- a job from every other one, where attempts that were given back repeat.
ALTER TABLE forge_job ADD COLUMN claims INTEGER NOT NULL DEFAULT 0;
