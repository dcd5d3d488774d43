-- name: append_lines
-- A repeated write holds the same lines, and perhaps more.
INSERT INTO forge_log (job_id, run, first_line, lines)
SELECT v.job_id, v.run, v.first_line, v.lines
FROM /* rows v: job_id text, run integer, first_line integer, lines text */
WHERE TRUE
ON CONFLICT (job_id, run, first_line) DO UPDATE SET lines = excluded.lines

-- name: drop_lines
-- Served by the primary key. Keeps the lines of the first run.
DELETE FROM forge_log
WHERE job_id = :job_id AND run > 1 AND run <= :last_run

-- name: log_tail
-- The state of a job, and the last lines of a run, by default of the newest with lines,
-- the last row first; one row without lines if there are none.
SELECT forge_job.status, log.run, log.first_line, log.lines
FROM forge_job
LEFT JOIN forge_log AS log
    ON log.job_id = forge_job.id
    AND log.run = COALESCE(
        :run, (SELECT MAX(run) FROM forge_log WHERE job_id = :job_id)
    )
WHERE forge_job.id = :job_id
ORDER BY log.first_line DESC
LIMIT :limit

-- name: log_chunks
-- The state of a job, and its lines from the row on that holds a line; one row without
-- lines if there are none. Served by the primary keys.
SELECT forge_job.status, log.run, log.first_line, log.lines
FROM forge_job
LEFT JOIN forge_log AS log
    ON log.job_id = forge_job.id
    AND (log.run, log.first_line) >= (
        :run,
        COALESCE(
            (
                SELECT MAX(first_line)
                FROM forge_log
                WHERE job_id = :job_id AND run = :run AND first_line <= :number
            ),
            0
        )
    )
WHERE forge_job.id = :job_id
ORDER BY log.run, log.first_line
LIMIT :limit
