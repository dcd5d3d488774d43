-- name: applied_versions
SELECT version, oldest_reader, name
FROM forge_schema
ORDER BY version

-- name: newest_version
SELECT version, oldest_reader
FROM forge_schema
ORDER BY version DESC
LIMIT 1

-- name: record_version
INSERT INTO forge_schema (version, oldest_reader, name, applied_at)
VALUES (:version, :oldest_reader, :name, :now)

-- name: create_schema_table
CREATE TABLE IF NOT EXISTS forge_schema (
    version       INTEGER NOT NULL PRIMARY KEY,
    oldest_reader INTEGER NOT NULL,
    name          TEXT    NOT NULL,
    applied_at    BIGINT  NOT NULL
)

-- name: takes_writes
-- A file that is not writable cannot be opened either.
SELECT 1

-- name: oldest_snapshot
SELECT age_s, holder
FROM (/* use open_transactions */) AS held
ORDER BY age_s DESC
LIMIT 1
