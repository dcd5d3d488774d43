-- When the last of those who wait for tokens gets its own.
ALTER TABLE forge_rate_limit ADD COLUMN line_ends_at BIGINT NOT NULL DEFAULT 0;
-- What the code of an application said last.
ALTER TABLE forge_rate_limit ADD COLUMN declared_as TEXT;
