-- name: try_lock
-- SQLite has one writer at a time.
SELECT :lock_key IS NOT NULL

-- name: wait_for_lock
SELECT :lock_key IS NOT NULL
