-- name: try_lock
-- Held until the transaction ends.
SELECT pg_try_advisory_xact_lock(:lock_key)
