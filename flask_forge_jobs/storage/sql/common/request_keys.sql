-- Answers to requests with an idempotency key.

-- name: take_request_key
-- A concurrent request with the same key waits for this commit, then finds the answer.
INSERT INTO forge_request_key (caller, request_key, fingerprint, answer, expires_at)
VALUES (:caller, :request_key, :fingerprint, '', :now + :kept_us)
ON CONFLICT (caller, request_key) DO UPDATE SET
    fingerprint = excluded.fingerprint,
    answer = excluded.answer,
    expires_at = excluded.expires_at
WHERE forge_request_key.expires_at <= :now
RETURNING request_key

-- name: find_request_key
SELECT fingerprint, answer
FROM forge_request_key
WHERE caller = :caller AND request_key = :request_key

-- name: answer_request_key
UPDATE forge_request_key
SET answer = :answer
WHERE caller = :caller AND request_key = :request_key

-- name: drop_expired_request_keys
-- Served by forge_request_key_expiry.
WITH expired AS MATERIALIZED (
    SELECT caller, request_key
    FROM forge_request_key
    WHERE expires_at <= :now
    ORDER BY expires_at
    LIMIT :limit
    /* skip_locked */
)
DELETE FROM forge_request_key
WHERE (caller, request_key) IN (SELECT caller, request_key FROM expired)
    AND expires_at <= :now
