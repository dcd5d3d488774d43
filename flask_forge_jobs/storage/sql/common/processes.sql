-- Who is working.

-- name: beat_pod
INSERT INTO forge_pod (host_id, heartbeat_at, worker_name, queues)
VALUES (:host_id, :now, :worker_name, :queues)
ON CONFLICT (host_id) DO UPDATE SET
    heartbeat_at = excluded.heartbeat_at,
    worker_name = excluded.worker_name,
    queues = excluded.queues

-- name: beat_slots
-- Writes complete rows, so that one that was reaped comes back whole (D5).
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
ORDER BY queue_name, process_id

-- name: processes_of_queue
SELECT process_id, queue_name, host_id, started_at, heartbeat_at, current_job
FROM forge_process
WHERE queue_name = :queue_name
ORDER BY process_id

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
