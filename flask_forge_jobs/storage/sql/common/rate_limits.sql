-- Token buckets.

-- name: all_rate_limits
SELECT scope, capacity, refill_per_sec, tokens, last_refilled_at, :now
FROM forge_rate_limit
ORDER BY scope

-- name: get_rate_limit
SELECT scope, capacity, refill_per_sec, tokens, last_refilled_at, :now
FROM forge_rate_limit
WHERE scope = :scope

-- name: drain_rate_limit
UPDATE forge_rate_limit
SET tokens = 0, last_refilled_at = :now + :pause_us
WHERE scope = :scope
RETURNING scope, capacity, refill_per_sec, tokens, last_refilled_at, :now

-- name: delete_rate_limit
DELETE FROM forge_rate_limit
WHERE scope = :scope
RETURNING scope

-- name: delete_unused_rate_limit
-- Full: nobody has taken a token for as long as a refill takes.
DELETE FROM forge_rate_limit
WHERE scope = :scope
    AND (
        tokens >= capacity
        OR tokens + (:now - last_refilled_at) * refill_per_sec / 1000000.0 >= capacity
    )
