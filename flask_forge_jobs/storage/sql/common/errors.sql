-- Failures by signature. Writers add to forge_error in the order of its key.

-- name: stored_errors
SELECT e.signature, e.queue_name, e.kind
FROM forge_error AS e
INNER JOIN /* rows v: signature text, queue_name text, kind text */
    ON e.signature = v.signature AND e.queue_name = v.queue_name AND e.kind = v.kind

-- name: count_errors
-- Served by forge_error_kind.
SELECT v.queue_name, v.kind, (
    SELECT COUNT(*)
    FROM (
        SELECT 1 AS one
        FROM forge_error AS e
        WHERE e.queue_name = v.queue_name AND e.kind = v.kind
        LIMIT :limit
    ) AS stored
)
FROM /* rows v: queue_name text, kind text */

-- name: register_errors
INSERT INTO forge_error (signature, queue_name, kind, failures, retrying, dead)
SELECT v.signature, v.queue_name, v.kind, 0, 0, 0
FROM /* rows v: signature text, queue_name text, kind text */
WHERE TRUE
ON CONFLICT (signature, queue_name, kind) DO NOTHING

-- name: add_failures
INSERT INTO forge_error_change (
    signature, queue_name, kind, at, failures, job_id, message
)
SELECT v.signature, v.queue_name, v.kind, :now, v.failures, v.job_id, v.message
FROM /* rows v: signature text, queue_name text, kind text, failures bigint, job_id text, message text */

-- name: waiting_error_changes
SELECT COUNT(*)
FROM (SELECT 1 AS one FROM forge_error_change LIMIT :limit) AS waiting

-- name: take_error_changes
DELETE FROM forge_error_change
WHERE id IN (
    SELECT id FROM forge_error_change ORDER BY id LIMIT :limit /* skip_locked */
)
RETURNING signature, queue_name, kind, at, failures, retrying, dead, job_id, message

-- name: add_errors
INSERT INTO forge_error (
    signature, queue_name, kind, failures, first_at, last_at, retrying, dead, job_id,
    message
)
SELECT
    v.signature, v.queue_name, v.kind, v.failures, v.first_at, v.last_at, v.retrying,
    v.dead, v.job_id, v.message
FROM /* rows v: signature text, queue_name text, kind text, failures bigint, first_at bigint, last_at bigint, retrying bigint, dead bigint, job_id text, message text */
WHERE TRUE
ON CONFLICT (signature, queue_name, kind) DO UPDATE
SET
    failures = forge_error.failures + excluded.failures,
    first_at = COALESCE(
        LEAST(forge_error.first_at, excluded.first_at),
        forge_error.first_at, excluded.first_at
    ),
    job_id = CASE
        WHEN COALESCE(forge_error.last_at <= excluded.last_at, forge_error.last_at IS NULL)
            THEN excluded.job_id
        ELSE forge_error.job_id
    END,
    message = CASE
        WHEN COALESCE(forge_error.last_at <= excluded.last_at, forge_error.last_at IS NULL)
            THEN excluded.message
        ELSE forge_error.message
    END,
    last_at = COALESCE(
        GREATEST(forge_error.last_at, excluded.last_at),
        forge_error.last_at, excluded.last_at
    ),
    retrying = forge_error.retrying + excluded.retrying,
    dead = forge_error.dead + excluded.dead

-- name: add_error_buckets
INSERT INTO forge_error_bucket (
    width_s, signature, queue_name, kind, bucket_start, failures
)
SELECT v.width_s, v.signature, v.queue_name, v.kind, v.bucket_start, v.failures
FROM /* rows v: width_s integer, signature text, queue_name text, kind text, bucket_start bigint, failures bigint */
WHERE TRUE
ON CONFLICT (width_s, signature, queue_name, kind, bucket_start) DO UPDATE
SET failures = forge_error_bucket.failures + excluded.failures

-- name: take_error_buckets
-- Those of a width that lie before the one of today or of this hour by so much. Served
-- by forge_error_bucket_time.
DELETE FROM forge_error_bucket
WHERE (width_s, signature, queue_name, kind, bucket_start) IN (
    SELECT width_s, signature, queue_name, kind, bucket_start
    FROM forge_error_bucket
    WHERE width_s = :width_s AND bucket_start < /* use range_start */
    LIMIT :limit
    /* skip_locked */
)
RETURNING signature, queue_name, kind, bucket_start, failures

-- name: drop_errors
-- Without a failure in the last month, and without a job.
DELETE FROM forge_error
WHERE failures = 0 AND retrying = 0 AND dead = 0

-- fragment: range_start
-- A query of its own, which runs once: PostgreSQL would compute it for each row.
(SELECT :now / :width_us * :width_us - :before_us)

-- fragment: error_scope
(:any_queue OR queue_name IN (SELECT q.name FROM /* rows q: name text = :queues */))
    AND (:any_kind OR kind IN (SELECT k.name FROM /* rows k: name text = :kinds */))

-- fragment: error_groups
-- With the failures in the range, and the last one ever.
SELECT
    signature, SUM(failures) AS failures, MIN(first_at) AS first_at,
    MAX(last_at) AS last_at
FROM (
    /* use totals_in_range */
    UNION ALL
    SELECT
        signature, CASE WHEN at >= /* use range_start */ THEN failures ELSE 0 END, at,
        at
    FROM forge_error_change
    WHERE failures > 0 AND /* use error_scope */
) AS counted
GROUP BY signature
HAVING SUM(failures) > 0

-- fragment: totals_in_range
-- All totals are read, and for a range below a month the buckets of each, from its place in
-- the primary key on.
SELECT
    signature,
    CASE
        WHEN :is_month THEN failures
        WHEN last_at >= /* use range_start */ THEN (
            SELECT COALESCE(SUM(b.failures), 0)
            FROM forge_error_bucket AS b
            WHERE b.width_s = :width_s
                AND b.signature = forge_error.signature
                AND b.queue_name = forge_error.queue_name
                AND b.kind = forge_error.kind
                AND b.bucket_start >= /* use range_start */
        )
        ELSE 0
    END AS failures,
    first_at,
    last_at
FROM forge_error
WHERE /* use error_scope */

-- name: start_of_range
SELECT /* use range_start */

-- name: error_page
-- One row without a signature if the page is empty. The start of the range comes first,
-- then all groups, their failures, and the groups of the last hour or day.
WITH groups AS MATERIALIZED (/* use error_groups */)
SELECT
    /* use range_start */, whole.total, whole.failures, whole.fresh,
    page.signature, page.failures, page.last_at
FROM (
    SELECT
        COUNT(*) AS total, COALESCE(SUM(failures), 0) AS failures,
        COALESCE(SUM(CASE WHEN first_at >= :now - :width_us THEN 1 ELSE 0 END), 0) AS fresh
    FROM groups
) AS whole
LEFT JOIN (
    SELECT signature, failures, last_at
    FROM groups
    WHERE /* use error_key */ < :after_key
        OR (/* use error_key */ = :after_key AND signature > :after_signature)
    ORDER BY /* use error_key */ DESC, signature
    LIMIT :limit
) AS page ON TRUE

-- fragment: error_key
CASE WHEN :by_count THEN failures ELSE last_at END

-- name: count_failing
-- How many signatures have failed in a range. The last failure of each tells, so that no
-- bucket is read.
SELECT COUNT(DISTINCT signature)
FROM (
    SELECT signature
    FROM forge_error
    WHERE last_at >= /* use range_start */ AND /* use error_scope */
    UNION ALL
    SELECT signature
    FROM forge_error_change
    WHERE failures > 0 AND at >= /* use range_start */ AND /* use error_scope */
) AS failing

-- name: error_parts
-- Of some signatures: totals by queue and kind, the changes that are not added yet, and
-- the failures by bucket, as JSON text, of all queues and kinds together or of each.
SELECT
    'total' AS part, signature, queue_name, kind, failures, first_at, last_at, retrying,
    dead, job_id, message
FROM forge_error
WHERE signature IN (SELECT v.name FROM /* rows v: name text */)
    AND /* use error_scope */
UNION ALL
SELECT
    'change', signature, queue_name, kind, failures, at, at, retrying, dead, job_id,
    message
FROM forge_error_change
WHERE signature IN (SELECT v.name FROM /* rows v: name text */)
    AND /* use error_scope */
UNION ALL
/* use trends */

-- fragment: trends
SELECT
    'bucket', signature, of_queue, of_kind, 0, 0, 0, 0, 0, NULL,
    json_group_object(CAST(start AS TEXT), failures)
FROM (
    SELECT
        signature, bucket_start AS start, SUM(failures) AS failures,
        CASE WHEN :by_kind THEN queue_name ELSE '' END AS of_queue,
        CASE WHEN :by_kind THEN kind ELSE '' END AS of_kind
    FROM forge_error_bucket
    WHERE width_s = :width_s
        AND signature IN (SELECT v.name FROM /* rows v: name text */)
        AND bucket_start >= :since
        AND /* use error_scope */
    GROUP BY signature, bucket_start, of_queue, of_kind
) AS bucket
GROUP BY signature, of_queue, of_kind

-- name: dead_by_error
-- The signatures of dead jobs, those of the most first, and how many there are.
WITH groups AS MATERIALIZED (
    SELECT
        signature, SUM(dead) AS dead, MAX(last_at) AS last_at,
        COUNT(DISTINCT CASE WHEN dead <> 0 THEN kind END) AS kinds,
        MIN(CASE WHEN dead <> 0 THEN kind END) AS kind
    FROM (
        SELECT signature, kind, dead, last_at
        FROM forge_error
        WHERE dead > 0 AND /* use error_scope */
        UNION ALL
        SELECT signature, kind, dead, at
        FROM forge_error_change
        WHERE (dead <> 0 OR failures > 0) AND /* use error_scope */
    ) AS counted
    GROUP BY signature
    HAVING SUM(dead) > 0
)
SELECT signature, dead, last_at, kinds, kind, (SELECT COUNT(*) FROM groups) AS total
FROM groups
ORDER BY dead DESC, signature
LIMIT :limit

-- name: count_failed
-- The failed and dead jobs with a signature.
SELECT COALESCE(SUM(
    CASE WHEN :with_failed THEN retrying ELSE 0 END
    + CASE WHEN :with_dead THEN dead ELSE 0 END
), 0)
FROM (
    SELECT retrying, dead
    FROM forge_error
    WHERE signature = :signature AND /* use error_scope */
    UNION ALL
    SELECT retrying, dead
    FROM forge_error_change
    WHERE signature = :signature AND /* use error_scope */
) AS counted
