-- Workers with their jobs: reads for operators.

-- name: known_workers
-- The last started come first, as ids begin with the time.
SELECT
    worker_id, worker_name, queues, heartbeat_at, started_at, version, host, pid, lost_at,
    :now - heartbeat_at, threads
FROM forge_worker
WHERE lost_at IS NULL OR lost_at >= :now - :kept_us
ORDER BY worker_id DESC
LIMIT :limit

-- fragment: job_of_queues
(:any_queue OR job.queue_name IN (SELECT q.name FROM /* rows q: name text = :queues */))

-- name: burden
-- Everything about some workers in one round trip: slots by queue, the jobs that run in
-- them, the jobs that were taken from them, their samples and, if asked for, how many jobs
-- they have claimed. A slot may name a job that has ended since its report. Served by
-- forge_slot_worker, forge_attempt_crashed, forge_job_running and the primary keys.
WITH slot AS MATERIALIZED (
    SELECT
        s.worker_id, s.queue_name, s.slot_id, s.current_job, job.id AS job_id, job.kind,
        job.started_at
    FROM /* rows v: worker_id text */
    INNER JOIN forge_slot AS s ON s.worker_id = v.worker_id
    -- By its id: PostgreSQL would read all that run, once for each slot.
    LEFT JOIN forge_job AS job
        ON job.id = s.current_job AND COALESCE(job.status, '') = 'in_progress'
        AND job.worker_id = s.worker_id AND job.queue_name = s.queue_name
    WHERE :any_queue
        OR s.queue_name IN (SELECT q.name FROM /* rows q: name text = :queues */)
)
SELECT
    'load' AS part, worker_id, queue_name, CAST(NULL AS TEXT) AS slot_id,
    CAST(NULL AS TEXT) AS job_id, CAST(NULL AS TEXT) AS kind, COUNT(*) AS first_number,
    COUNT(*) - COUNT(job_id) AS second_number, CAST(NULL AS TEXT) AS status,
    CAST(NULL AS TEXT) AS ending, CAST(COUNT(current_job) AS DOUBLE PRECISION) AS share
FROM slot
GROUP BY worker_id, queue_name
UNION ALL
SELECT *
FROM (
    SELECT
        'run', worker_id, queue_name, slot_id, job_id, kind, started_at,
        :now - started_at, CAST(NULL AS TEXT), CAST(NULL AS TEXT),
        CAST(NULL AS DOUBLE PRECISION)
    FROM slot
    WHERE job_id IS NOT NULL
    ORDER BY started_at, job_id
    LIMIT :limit
) AS run
UNION ALL
SELECT *
FROM (
    SELECT
        'rescued', a.worker_id, job.queue_name, CAST(NULL AS TEXT), job.id, job.kind,
        a.started_at, a.ended_at, job.status,
        CASE
            WHEN job.status = 'dead' AND job.cancel_requested_at IS NOT NULL
            THEN 'cancelled'
            WHEN job.status = 'dead' THEN 'dead'
        END,
        CAST(NULL AS DOUBLE PRECISION)
    FROM /* rows v: worker_id text */
    INNER JOIN forge_attempt AS a ON a.worker_id = v.worker_id AND a.ending = 'crashed'
    INNER JOIN forge_job AS job ON job.id = a.job_id
    WHERE a.ended_at >= :now - :kept_us
        AND /* use job_of_queues */
    ORDER BY a.ended_at DESC, job.id
    LIMIT :limit
) AS rescued
UNION ALL
SELECT
    'use', s.worker_id, CAST(NULL AS TEXT), CAST(NULL AS TEXT), CAST(NULL AS TEXT),
    CAST(NULL AS TEXT), s.bucket_start, s.rss_bytes / s.samples, CAST(NULL AS TEXT),
    CAST(NULL AS TEXT), s.cpu_pct / s.samples
FROM forge_sample AS s
WHERE s.level = :level AND s.bucket_start >= :now - :age_us AND s.samples > 0
    AND s.worker_id IN (SELECT v.worker_id FROM /* rows v: worker_id text */)
UNION ALL
SELECT
    'claimed', v.worker_id, CAST(NULL AS TEXT), CAST(NULL AS TEXT), CAST(NULL AS TEXT),
    CAST(NULL AS TEXT), COUNT(*), 0, CAST(NULL AS TEXT), CAST(NULL AS TEXT),
    CAST(NULL AS DOUBLE PRECISION)
FROM /* rows v: worker_id text */
CROSS JOIN forge_job AS job
WHERE :counts_claimed AND job.worker_id = v.worker_id AND job.status = 'in_progress'
    AND /* use job_of_queues */
GROUP BY v.worker_id

-- name: longest_runs
-- The jobs in slots, those of silent workers as well. Reads all slots, and their jobs by
-- the id: a planner would rather read all slots once for each job in progress.
SELECT
    s.slot_id, s.queue_name, job.id, job.kind, job.started_at, :now - job.started_at,
    s.worker_id, worker.worker_name, job.progress
FROM forge_slot AS s
CROSS JOIN /* use job_of_slot */ AS job
LEFT JOIN forge_worker AS worker ON worker.worker_id = s.worker_id
WHERE job.id = s.current_job AND job.status = 'in_progress'
    AND job.worker_id = s.worker_id AND job.queue_name = s.queue_name
    AND (
        :any_queue
        OR s.queue_name IN (SELECT q.name FROM /* rows q: name text = :queues */)
    )
ORDER BY job.started_at, job.id
LIMIT :limit
