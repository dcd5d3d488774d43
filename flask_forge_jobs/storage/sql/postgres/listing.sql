-- fragment: filtered_counts
-- Without an index, a look-up of the queues would only cost more.
(:any_queue OR queue_name IN (SELECT v.name FROM /* rows v: name text = :queues */))
    AND (:any_kind OR kind IN (SELECT v.name FROM /* rows v: name text = :kinds */))
    AND status IN (SELECT v.name FROM /* rows v: name text = :statuses */)

-- fragment: payload_shows
-- The pattern is cheap, and exact for payloads without escapes. In other payloads each
-- visible backslash that could begin an escape is replaced first.
(
    LOWER(payload COLLATE "C") LIKE :payload_pattern ESCAPE '\'
    AND (
        STRPOS(payload, '\u') = 0
        OR REPLACE(
            REPLACE(
                REPLACE(payload COLLATE "C", '\\', CHR(1) || CHR(1)),
                '\u000', CHR(1) || 'u000'
            ),
            '\u001', CHR(1) || 'u001'
        ) ~ :payload_expression
    )
)

-- fragment: error_text
-- The collation limits LOWER to ASCII, as on SQLite.
LOWER(last_error COLLATE "C")

-- name: listed_together (both ways)
-- A lateral join stops at the limit of each combination; a subquery after IN would run for
-- every job.
SELECT c.of_queue, c.of_kind, c.of_status, job.enqueued_at, job.id
FROM /* rows c: of_queue text, of_kind text, of_status text */
CROSS JOIN LATERAL (
    SELECT enqueued_at, id
    FROM forge_job
    WHERE queue_name = c.of_queue AND kind = c.of_kind AND status = c.of_status
        AND enqueued_at >= :edge AND (enqueued_at, id) < (:at, :id)
    ORDER BY enqueued_at DESC, id DESC
    LIMIT :limit
) AS job

-- name: leading (both ways)
WITH newest AS (/* use newest_combinations */)
SELECT
    c.queue_name, c.kind, c.status, job.enqueued_at,
    (SELECT MIN(newest_at) FROM newest HAVING COUNT(*) = :max_combinations) AS unread_at
FROM newest AS c
CROSS JOIN LATERAL (
    SELECT enqueued_at, id
    FROM forge_job
    WHERE queue_name = c.queue_name AND kind = c.kind AND status = c.status
        AND enqueued_at >= :edge AND (enqueued_at, id) < (:at, :id)
    ORDER BY enqueued_at DESC, id DESC
    LIMIT 1
) AS job
ORDER BY job.enqueued_at DESC, job.id DESC
LIMIT :limit

-- name: finished_together (both ways)
SELECT c.of_queue, c.of_kind, c.of_status, job.completed_at, job.id
FROM /* rows c: of_queue text, of_kind text, of_status text */
CROSS JOIN LATERAL (
    SELECT completed_at, id
    FROM forge_job
    WHERE queue_name = c.of_queue AND status = c.of_status
        AND completed_at IS NOT NULL AND (completed_at, id) < (:at, :id)
    ORDER BY completed_at DESC, id DESC
    LIMIT :limit
) AS job
