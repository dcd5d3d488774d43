-- Searches for conditions without an index: one pass over some jobs finds a page of those
-- that match and counts them by state. Each row has the counts, the place of a job and what
-- is shown of it; without a job on the page there is one row, with the counts alone.

-- fragment: match_columns
/* use sort_key */ AS match_key, id AS match_id, status, scheduled_at

-- fragment: jobs_of_newest
-- The :skip jobs with the highest ids, which are the newest ones unless callers choose ids.
forge_job
WHERE id > COALESCE((SELECT id FROM forge_job ORDER BY id DESC LIMIT 1 OFFSET :skip), '')
    AND /* use matches */

-- fragment: page_of_matches (both ways)
SELECT counted.*, page.match_key, /* use summary_columns */
FROM (SELECT /* use number_by_status */ FROM matches) AS counted
LEFT JOIN (
    SELECT match_key, match_id
    FROM matches
    WHERE (match_key, match_id) < (:at, :id)
    ORDER BY match_key DESC, match_id DESC
    LIMIT :limit
) AS page ON TRUE
LEFT JOIN forge_job ON forge_job.id = page.match_id
ORDER BY page.match_key DESC, page.match_id DESC

-- name: search_few (both ways)
WITH matches AS MATERIALIZED (SELECT /* use match_columns */ FROM /* use jobs_of_few */)
/* use page_of_matches_desc */

-- name: search_newest (both ways)
WITH matches AS MATERIALIZED (SELECT /* use match_columns */ FROM /* use jobs_of_newest */)
/* use page_of_matches_desc */

-- name: search_each (both ways)
WITH matches AS MATERIALIZED (SELECT /* use match_columns */ FROM /* use jobs_of_each */)
/* use page_of_matches_desc */
