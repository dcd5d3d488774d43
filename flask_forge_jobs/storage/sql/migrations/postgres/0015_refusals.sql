-- How many requests an entry stands for: refused ones that are alike leave one together.
ALTER TABLE forge_audit ADD COLUMN requests INTEGER NOT NULL DEFAULT 1;
