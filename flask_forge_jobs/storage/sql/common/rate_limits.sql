-- Token buckets.

-- name: all_rate_limits
SELECT scope, capacity, refill_per_sec, tokens, last_refilled_at, :now
FROM forge_rate_limit
ORDER BY scope
LIMIT :limit

-- name: count_rate_limits
SELECT COUNT(*)
FROM forge_rate_limit

-- name: get_rate_limit
SELECT scope, capacity, refill_per_sec, tokens, last_refilled_at, :now
FROM forge_rate_limit
WHERE scope = :scope

-- name: drain_rate_limit
-- A shorter pause does not cut a longer one short.
UPDATE forge_rate_limit
SET tokens = 0, last_refilled_at = GREATEST(last_refilled_at, :now + :pause_us)
WHERE scope = :scope
RETURNING scope, capacity, refill_per_sec, tokens, last_refilled_at, :now
/* noted */

-- name: delete_rate_limit
DELETE FROM forge_rate_limit
WHERE scope = :scope
RETURNING scope
/* noted: named */

-- name: delete_unused_rate_limit
-- Unused means full: nobody has taken a token for as long as a refill takes.
DELETE FROM forge_rate_limit
WHERE scope = :scope
    AND (
        tokens >= capacity
        OR tokens + (:now - last_refilled_at) * refill_per_sec / 1000000.0 >= capacity
    )

-- name: acquire_tokens
-- Refills and takes in one statement, so the last token cannot be spent twice.
-- last_refilled_at never moves back, whatever the clock does. A newcomer does not overtake
-- callers in line unless the bucket is full. Once it has been full for a second nobody
-- waits, so the line ends.
UPDATE forge_rate_limit
SET
    tokens = LEAST(
        capacity,
        tokens
        + GREATEST(:now - last_refilled_at, 0) * refill_per_sec / 1000000.0
    ) - :tokens,
    last_refilled_at = GREATEST(last_refilled_at, :now),
    line_ends_at = CASE
        WHEN
            tokens + (:now - last_refilled_at) * refill_per_sec / 1000000.0
            >= capacity + refill_per_sec
            THEN LEAST(line_ends_at, :now)
        ELSE line_ends_at
    END
WHERE scope = :scope
    AND LEAST(
        capacity,
        tokens
        + GREATEST(:now - last_refilled_at, 0) * refill_per_sec / 1000000.0
    ) >= :tokens
    AND (
        :may_pass OR line_ends_at <= :now
        OR tokens + (:now - last_refilled_at) * refill_per_sec / 1000000.0 >= capacity
    )
RETURNING scope

-- name: line_up
-- Joins the line behind its last caller or, without a line, at the instant when the bucket
-- was, or would have been, empty.
UPDATE forge_rate_limit
SET line_ends_at = CAST(
    LEAST(
        GREATEST(
            line_ends_at, last_refilled_at - tokens / refill_per_sec * 1000000.0
        ) + :tokens / refill_per_sec * 1000000.0,
        :now + 86400000000
    ) AS BIGINT
)
WHERE scope = :scope AND capacity >= :tokens
RETURNING line_ends_at - :now

-- name: put_rate_limit
-- Cuts the tokens to the new capacity. Declaring the same limit again changes nothing, so
-- an operator's change stays.
INSERT INTO forge_rate_limit (
    scope, capacity, refill_per_sec, tokens, last_refilled_at, declared_as
)
VALUES (:scope, :capacity, :refill_per_sec, :capacity, :now, :declared_as)
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
    refill_per_sec = excluded.refill_per_sec,
    declared_as = COALESCE(excluded.declared_as, forge_rate_limit.declared_as)
WHERE excluded.declared_as IS NULL
    OR COALESCE(forge_rate_limit.declared_as, '') <> excluded.declared_as
RETURNING scope, capacity, refill_per_sec, tokens, last_refilled_at, :now
/* noted */
