-- name: try_lock
-- SQLite has one writer at a time.
SELECT :lock_key IS NOT NULL
