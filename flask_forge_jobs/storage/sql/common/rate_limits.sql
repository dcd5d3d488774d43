-- Token buckets.

-- fragment: rate_limit_columns
scope, capacity, refill_per_sec, tokens, last_refilled_at, :now

-- fragment: refilled
-- The tokens that a bucket has now.
LEAST(
    capacity, tokens + GREATEST(:now - last_refilled_at, 0) * refill_per_sec / 1000000.0
)

-- fragment: without_bound
-- Those that it would have without a capacity.
tokens + (:now - last_refilled_at) * refill_per_sec / 1000000.0

-- name: all_rate_limits
SELECT /* use rate_limit_columns */
FROM forge_rate_limit
ORDER BY scope
LIMIT :limit

-- name: count_rate_limits
SELECT COUNT(*)
FROM forge_rate_limit

-- name: get_rate_limit
SELECT /* use rate_limit_columns */
FROM forge_rate_limit
WHERE scope = :scope

-- name: drain_rate_limit
-- A shorter pause does not cut a longer one short.
UPDATE forge_rate_limit
SET tokens = 0, last_refilled_at = GREATEST(last_refilled_at, :now + :pause_us)
WHERE scope = :scope
RETURNING /* use rate_limit_columns */
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
        OR /* use without_bound */ >= capacity
    )

-- name: acquire_tokens
-- Refills and takes in one statement, so the last token cannot be spent twice.
-- last_refilled_at never moves back, whatever the clock does. A newcomer does not overtake
-- callers in line unless the bucket is full. Once it has been full for a second nobody
-- waits, so the line ends.
UPDATE forge_rate_limit
SET
    tokens = /* use refilled */ - :tokens,
    last_refilled_at = GREATEST(last_refilled_at, :now),
    line_ends_at = CASE
        WHEN /* use without_bound */ >= capacity + refill_per_sec
            THEN LEAST(line_ends_at, :now)
        ELSE line_ends_at
    END
WHERE scope = :scope
    AND /* use refilled */ >= :tokens
    AND (
        :may_pass OR line_ends_at <= :now
        OR /* use without_bound */ >= capacity
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
RETURNING /* use rate_limit_columns */
/* noted */
