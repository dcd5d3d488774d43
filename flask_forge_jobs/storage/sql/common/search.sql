-- Searches for conditions without an index: one pass over some jobs finds a page of those
-- that match and counts them by state. Each row has the counts, the place of a job and what
-- is shown of it; without a job on the page there is one row, with the counts alone.

-- fragment: found_columns
/* use sort_key */ AS found_key, id AS found_id, status, scheduled_at

-- fragment: jobs_of_newest
-- The :skip jobs with the highest ids, which are the newest ones unless callers choose ids.
forge_job
WHERE id > COALESCE((SELECT id FROM forge_job ORDER BY id DESC LIMIT 1 OFFSET :skip), '')
    AND /* use matches */

-- name: found_few (both ways)
WITH found AS MATERIALIZED (SELECT /* use found_columns */ FROM /* use jobs_of_few */)
SELECT counted.*, page.found_key, /* use summary_columns */
FROM (SELECT /* use number_by_status */ FROM found) AS counted
LEFT JOIN (
    SELECT found_key, found_id
    FROM found
    WHERE (found_key, found_id) < (:at, :id)
    ORDER BY found_key DESC, found_id DESC
    LIMIT :limit
) AS page ON TRUE
LEFT JOIN forge_job ON forge_job.id = page.found_id
ORDER BY page.found_key DESC, page.found_id DESC

-- name: found_newest (both ways)
WITH found AS MATERIALIZED (SELECT /* use found_columns */ FROM /* use jobs_of_newest */)
SELECT counted.*, page.found_key, /* use summary_columns */
FROM (SELECT /* use number_by_status */ FROM found) AS counted
LEFT JOIN (
    SELECT found_key, found_id
    FROM found
    WHERE (found_key, found_id) < (:at, :id)
    ORDER BY found_key DESC, found_id DESC
    LIMIT :limit
) AS page ON TRUE
LEFT JOIN forge_job ON forge_job.id = page.found_id
ORDER BY page.found_key DESC, page.found_id DESC

-- name: found_each (both ways)
WITH found AS MATERIALIZED (SELECT /* use found_columns */ FROM /* use jobs_of_each */)
SELECT counted.*, page.found_key, /* use summary_columns */
FROM (SELECT /* use number_by_status */ FROM found) AS counted
LEFT JOIN (
    SELECT found_key, found_id
    FROM found
    WHERE (found_key, found_id) < (:at, :id)
    ORDER BY found_key DESC, found_id DESC
    LIMIT :limit
) AS page ON TRUE
LEFT JOIN forge_job ON forge_job.id = page.found_id
ORDER BY page.found_key DESC, page.found_id DESC
