-- name: try_lock
-- Who writes is alone anyway.
SELECT :lock_key IS NOT NULL
