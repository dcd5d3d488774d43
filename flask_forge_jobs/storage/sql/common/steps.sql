-- Steps and checkpoints, which a job keeps for its next run.

-- name: kept_steps
SELECT name, result
FROM forge_step
WHERE job_id = :job_id

-- name: keep_step
-- The fence: the job still runs, in this very claim of this worker, until this commits. A
-- conflict is our own repeat after a lost answer.
INSERT INTO forge_step (job_id, name, run, result, at)
SELECT id, :name, claims, :result, :now
FROM forge_job
WHERE id = :job_id AND COALESCE(status, '') = 'in_progress'
    AND COALESCE(worker_id, '') = :worker_id AND claims = :run
/* for_share */
ON CONFLICT (job_id, name) DO UPDATE
SET run = excluded.run, result = excluded.result, at = excluded.at
RETURNING name

-- name: save_checkpoints
-- For runs that the same transaction has renewed or ended as the worker's own.
INSERT INTO forge_step (job_id, name, run, result, at)
SELECT v.job_id, '', v.run, v.result, :now
FROM /* rows v: job_id text, run integer, result text */
WHERE TRUE
ON CONFLICT (job_id, name) DO UPDATE
SET run = excluded.run, result = excluded.result, at = excluded.at
WHERE forge_step.run <= excluded.run

-- name: drop_steps
DELETE FROM forge_step
WHERE job_id IN (SELECT v.job_id FROM /* rows v: job_id text */)

-- fragment: steps_of_job
-- The number of steps of a job, and the newest, with the checkpoint first, as JSON text.
(SELECT COUNT(*) FROM forge_step WHERE job_id = forge_job.id AND name <> ''),
CAST(
    (
        SELECT JSON_LIST(
            JSON_ROW(
                name, run, at, LENGTH(result),
                CASE WHEN name = '' OR LENGTH(result) <= 4096 THEN result END
            )
        )
        FROM (
            SELECT name, run, at, result
            FROM forge_step
            WHERE job_id = forge_job.id
            ORDER BY CASE WHEN name = '' THEN 0 ELSE 1 END, at DESC, name
            LIMIT 101
        ) AS newest
    ) AS TEXT
)
