-- Jobs that wait for others: functions of the schema, because to plan these statements
-- takes several times as long as to run them.

-- name: add_links
INSERT INTO forge_link (child_id, parent_id, parent_kind, on_dead)
SELECT link ->> 0, link ->> 1, link ->> 2, link ->> 3
FROM json_array_elements(:links) AS v (link)

-- name: append_links
COPY forge_link (child_id, parent_id, parent_kind, on_dead) FROM STDIN

-- name: end_links
SELECT forge_end_links(:rows)

-- name: end_done_links
-- The next one does it.
SELECT :parents

-- name: free_done_children
SELECT queue.name
FROM
    unnest(
        forge_release_done(
            ARRAY(SELECT * FROM json_array_elements_text(:parents)), FALSE
        )
    ) AS queue (name)

-- name: waiting_children
SELECT
    child.*,
    COALESCE(
        (SELECT queue_name FROM forge_job WHERE id = dead_parent),
        (SELECT trim(queues, '"') FROM forge_batch WHERE id = dead_parent)
    )
FROM forge_waiting_children(:rows) AS child

-- name: free_children
SELECT *
FROM forge_free_children(:rows)

-- name: release_waiting
-- Lets a job wait for nothing more, and start once its own time has come.
WITH job AS MATERIALIZED (
    SELECT id AS job_id
    FROM forge_job
    WHERE id = :id AND start_at IS NOT NULL AND COALESCE(status, '') = 'pending'
    /* for_update */
),
released AS (
    UPDATE forge_link
    SET ended = 'released'
    WHERE ended IS NULL AND child_id IN (SELECT job_id FROM job)
)
/* change */
UPDATE forge_job
SET /* use freed */
FROM job
WHERE forge_job.id = job.job_id AND start_at IS NOT NULL
RETURNING
    FALSE AS asked, queue_name, kind, JSON_ROW(/* use job_columns */)::text,
    CASE
        WHEN NOT :quiet AND NOT deferred
            THEN pg_notify('forge_jobs_wake', queue_name)::text
    END
/* noted: asked */
