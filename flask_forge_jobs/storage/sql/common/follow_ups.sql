-- Jobs to store when another job has ended without being done.

-- name: declared_follow_ups
SELECT of_kind, ending, kind, parameter, queue_name, priority, max_attempts
FROM forge_follow_up
WHERE declared_by = :application
ORDER BY of_kind, ending

-- name: forget_follow_ups
DELETE FROM forge_follow_up
WHERE declared_by = :application

-- name: declare_follow_ups
-- If two applications declare the same kind, the one started last wins.
INSERT INTO forge_follow_up (
    of_kind, ending, kind, parameter, queue_name, priority, max_attempts, declared_by
)
SELECT
    v.of_kind, v.ending, v.kind, v.parameter, v.queue_name, v.priority, v.max_attempts,
    :application
FROM /* rows v: of_kind text, ending text, kind text, parameter text, queue_name text, priority integer, max_attempts integer */
WHERE TRUE
ON CONFLICT (of_kind, ending) DO UPDATE SET
    kind = excluded.kind, parameter = excluded.parameter,
    queue_name = excluded.queue_name, priority = excluded.priority,
    max_attempts = excluded.max_attempts, declared_by = excluded.declared_by

-- name: followed_up
-- The given jobs that need a follow-up, with the job to enqueue.
SELECT
    job.id, job.kind, job.queue_name, job.payload, job.attempts, job.last_error,
    f.kind, f.parameter, f.queue_name, f.priority, f.max_attempts
FROM forge_job AS job
INNER JOIN forge_follow_up AS f ON f.of_kind = job.kind AND f.ending = :ending
WHERE job.id IN (SELECT v.job_id FROM /* rows v: job_id text */)
ORDER BY job.id

-- name: followed_up_sizes
-- The given jobs that may need a follow-up, with the characters of their payload.
SELECT job.id, OCTET_LENGTH(job.payload)
FROM forge_job AS job
WHERE job.id IN (SELECT v.job_id FROM /* rows v: job_id text */)
    AND job.kind IN (SELECT of_kind FROM forge_follow_up)
