-- Who is working.

-- name: beat_pod
INSERT INTO forge_pod (host_id, heartbeat_at, worker_name, queues, services)
VALUES (:host_id, :now, :worker_name, :queues, :services)
ON CONFLICT (host_id) DO UPDATE SET
    heartbeat_at = excluded.heartbeat_at,
    worker_name = excluded.worker_name,
    queues = excluded.queues,
    services = excluded.services

-- name: beat_slots
-- Writes complete rows, so that one that was reaped comes back whole.
INSERT INTO forge_process (
    process_id, queue_name, host_id, started_at, heartbeat_at, current_job
)
SELECT v.process_id, v.queue_name, :host_id, :now, :now, v.current_job
FROM /* rows v: process_id text, queue_name text, current_job text */
WHERE TRUE
ON CONFLICT (process_id) DO UPDATE SET
    heartbeat_at = excluded.heartbeat_at,
    current_job = excluded.current_job

-- name: drop_other_slots
DELETE FROM forge_process
WHERE host_id = :host_id
    AND process_id NOT IN (SELECT v.process_id FROM /* rows v: process_id text */)

-- name: drop_slots
DELETE FROM forge_process
WHERE host_id = :host_id

-- name: drop_pod
DELETE FROM forge_pod
WHERE host_id = :host_id

-- name: all_processes
SELECT process_id, queue_name, host_id, started_at, heartbeat_at, current_job
FROM forge_process
WHERE heartbeat_at >= :now - :within_us
ORDER BY queue_name, process_id
LIMIT :limit

-- name: processes_of_queue
SELECT process_id, queue_name, host_id, started_at, heartbeat_at, current_job
FROM forge_process
WHERE queue_name = :queue_name AND heartbeat_at >= :now - :within_us
ORDER BY process_id
LIMIT :limit

-- name: count_processes
SELECT COUNT(*)
FROM forge_process
WHERE :any_queue OR queue_name = :queue_name

-- name: all_pods
SELECT host_id, worker_name, queues, heartbeat_at
FROM forge_pod
ORDER BY host_id

-- name: live_pods
SELECT host_id, worker_name, queues, heartbeat_at
FROM forge_pod
WHERE heartbeat_at >= :now - :within_us
ORDER BY host_id

-- name: drop_orphan_slots
-- Slots whose process has no pod row are left over from a crash.
DELETE FROM forge_process
WHERE host_id NOT IN (SELECT host_id FROM forge_pod)

-- name: live_workers
-- The age by the same clock as the heartbeat, whatever the reader's own says.
SELECT host_id, worker_name, queues, heartbeat_at, :now - heartbeat_at
FROM forge_pod
WHERE heartbeat_at >= :now - :within_us
ORDER BY host_id

-- name: service_ages
SELECT services, :now - heartbeat_at
FROM forge_pod
WHERE heartbeat_at >= :now - :within_us AND services IS NOT NULL

-- name: slots_of_workers
SELECT
    host_id, queue_name, COUNT(*),
    SUM(CASE WHEN heartbeat_at >= :now - :within_us THEN 1 ELSE 0 END),
    SUM(
        CASE
            WHEN heartbeat_at >= :now - :within_us AND current_job IS NOT NULL THEN 1
            ELSE 0
        END
    )
FROM forge_process
GROUP BY host_id, queue_name
ORDER BY host_id, queue_name

-- name: unassigned_queues
SELECT name
FROM forge_queue
WHERE NOT EXISTS (
    SELECT 1
    FROM forge_process
    INNER JOIN forge_pod ON forge_pod.host_id = forge_process.host_id
    WHERE forge_process.queue_name = forge_queue.name
        AND forge_pod.heartbeat_at >= :now - :within_us
)
ORDER BY name
