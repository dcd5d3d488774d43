-- name: fold_counts
-- Merges appended changes, in one transaction at a time.
WITH gone AS (
    DELETE FROM forge_job_count
    WHERE (SELECT COUNT(*) > :worthwhile FROM forge_job_count)
        AND (SELECT pg_try_advisory_xact_lock(:lock_key))
    RETURNING queue_name, kind, status, deferred, jobs, newest_at
)
INSERT INTO forge_job_count (queue_name, kind, status, deferred, jobs, newest_at)
SELECT queue_name, kind, status, deferred, SUM(jobs), MAX(newest_at)
FROM gone
GROUP BY queue_name, kind, status, deferred
HAVING SUM(jobs) <> 0
RETURNING jobs
