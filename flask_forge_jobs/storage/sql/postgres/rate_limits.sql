-- What PostgreSQL must say in its own way.

-- name: acquire_tokens
-- Refills and takes in one statement, so the last token cannot be spent twice. The
-- instant never moves back, whatever the clock does (D59).
UPDATE forge_rate_limit
SET
    tokens = LEAST(
        capacity,
        tokens
        + GREATEST(:now - last_refilled_at, 0) * refill_per_sec / 1000000.0
    ) - :tokens,
    last_refilled_at = GREATEST(last_refilled_at, :now)
WHERE scope = :scope
    AND LEAST(
        capacity,
        tokens
        + GREATEST(:now - last_refilled_at, 0) * refill_per_sec / 1000000.0
    ) >= :tokens
RETURNING scope

-- name: put_rate_limit
-- What a bucket holds is cut to its new capacity.
INSERT INTO forge_rate_limit (
    scope, capacity, refill_per_sec, tokens, last_refilled_at
)
VALUES (:scope, :capacity, :refill_per_sec, :capacity, :now)
ON CONFLICT (scope) DO UPDATE SET
    tokens = LEAST(
        excluded.capacity,
        forge_rate_limit.capacity,
        forge_rate_limit.tokens
        + GREATEST(:now - forge_rate_limit.last_refilled_at, 0)
        * forge_rate_limit.refill_per_sec / 1000000.0
    ),
    last_refilled_at = GREATEST(forge_rate_limit.last_refilled_at, :now),
    capacity = excluded.capacity,
    refill_per_sec = excluded.refill_per_sec
RETURNING scope, capacity, refill_per_sec, tokens, last_refilled_at, :now
