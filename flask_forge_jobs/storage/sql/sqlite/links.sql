-- Jobs that wait for others.

-- name: add_links
-- Arrays are read in two thirds of the time that objects take.
INSERT INTO forge_link (child_id, parent_id, parent_kind, on_dead)
SELECT
    json_extract(value, '$[0]'), json_extract(value, '$[1]'),
    json_extract(value, '$[2]'), json_extract(value, '$[3]')
FROM json_each(:links)

-- name: end_links
-- How parents ended. A link that holds stays open until its parent is done.
UPDATE forge_link
SET
    ended = v.ended,
    result = COALESCE(v.result, (SELECT result FROM forge_job WHERE id = v.parent_id)),
    error = CASE
        WHEN v.ended <> 'done'
            THEN (SELECT last_error FROM forge_job WHERE id = v.parent_id)
    END
FROM /* rows v: parent_id text, ended text, result text */
WHERE forge_link.parent_id = v.parent_id AND forge_link.ended IS NULL
    AND (v.ended = 'done' OR forge_link.on_dead <> 'hold')

-- name: end_done_links
-- The same of parents that are jobs and done.
UPDATE forge_link
SET
    ended = 'done',
    result = (SELECT result FROM forge_job WHERE id = forge_link.parent_id)
WHERE ended IS NULL AND parent_id IN (SELECT value FROM json_each(:parents))

-- name: free_done_children
-- Frees those that waited for them alone.
UPDATE forge_job
SET /* use freed */
WHERE start_at IS NOT NULL AND COALESCE(status, '') = 'pending'
    AND id IN (
        SELECT child_id
        FROM forge_link
        WHERE parent_id IN (SELECT value FROM json_each(:parents))
    )
    AND NOT EXISTS (
        SELECT 1 FROM forge_link WHERE child_id = forge_job.id AND ended IS NULL
    )
RETURNING queue_name

-- name: waiting_children
-- The jobs that wait for the given parents among others: whether a parent is unfinished,
-- the first one because of which the job dies, and its queue; NULL if it was deleted.
WITH child AS (
    SELECT
        id, queue_name, kind, batch_id, ties, attempts, error_history,
        EXISTS (
            SELECT 1 FROM forge_link WHERE child_id = forge_job.id AND ended IS NULL
        ),
        (
            SELECT MIN(parent_id)
            FROM forge_link
            WHERE child_id = forge_job.id AND ended IN ('dead', 'deleted')
                AND on_dead = 'cancel'
        ) AS dead_parent
    FROM forge_job
    WHERE start_at IS NOT NULL AND COALESCE(status, '') = 'pending'
        AND id IN (
            SELECT child_id
            FROM forge_link
            WHERE parent_id IN (SELECT v.parent_id FROM /* rows v: parent_id text */)
        )
)
SELECT
    child.*,
    COALESCE(
        (SELECT queue_name FROM forge_job WHERE id = dead_parent),
        (SELECT trim(queues, '"') FROM forge_batch WHERE id = dead_parent)
    )
FROM child
ORDER BY id

-- name: free_children
-- Jobs that wait for nothing else any more.
UPDATE forge_job
SET /* use freed */
WHERE start_at IS NOT NULL AND COALESCE(status, '') = 'pending'
    AND id IN (SELECT v.job_id FROM /* rows v: job_id text */)
RETURNING id, queue_name, deferred
