-- fragment: attempts_of_job
-- The attempts of a job as JSON text, in no order; NULL without one.
(
    SELECT json_agg(
        json_build_array(
            run, attempt, due_at, started_at, ended_at, worker_id, worker_name, host,
            slot, ending, error, traceback, signature
        )
    )::text
    FROM forge_attempt
    WHERE job_id = forge_job.id
)

-- name: snapshot
SELECT
    queues, counts, waiting, processes,
    (SELECT json_agg(name ORDER BY name)::text FROM forge_queue WHERE throttled_until > :now)
FROM forge_snapshot(:within_us)
