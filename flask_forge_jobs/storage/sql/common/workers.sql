-- Workers and their slots.

-- name: beat_worker
INSERT INTO forge_worker (
    worker_id, heartbeat_at, worker_name, queues, services, started_at, version, host,
    pid, threads, kinds
)
VALUES (
    :worker_id, :now, :worker_name, :queues, :services, :now - :up_us, :version, :host,
    :pid, :threads, :kinds
)
ON CONFLICT (worker_id) DO UPDATE SET
    heartbeat_at = excluded.heartbeat_at,
    worker_name = excluded.worker_name,
    queues = excluded.queues,
    services = excluded.services,
    -- Given only when they have changed.
    kinds = COALESCE(excluded.kinds, forge_worker.kinds),
    lost_at = NULL

-- name: beat_slots
-- Writes complete rows, to restore those that were reaped.
INSERT INTO forge_slot (
    slot_id, queue_name, worker_id, started_at, heartbeat_at, current_job
)
SELECT v.slot_id, v.queue_name, :worker_id, :now, :now, v.current_job
FROM /* rows v: slot_id text, queue_name text, current_job text */
WHERE TRUE
ON CONFLICT (slot_id) DO UPDATE SET
    heartbeat_at = excluded.heartbeat_at,
    current_job = excluded.current_job

-- name: drop_other_slots
DELETE FROM forge_slot
WHERE worker_id = :worker_id
    AND slot_id NOT IN (SELECT v.slot_id FROM /* rows v: slot_id text */)

-- name: drop_slots
DELETE FROM forge_slot
WHERE worker_id = :worker_id

-- name: drop_worker
DELETE FROM forge_worker
WHERE worker_id = :worker_id
RETURNING COALESCE(worker_name, worker_id), queues, heartbeat_at

-- name: note_served
-- ``served_at`` of NULL means now. A fresh time is not written again, so that the workers
-- of a queue take no turns. A beat must not wait: who holds the row may have been
-- stopped, and all workers of the queue would fall silent.
WITH served AS MATERIALIZED (
    SELECT name
    FROM forge_queue
    WHERE name IN (SELECT v.name FROM /* rows v: name text */)
        AND (
            last_served_at IS NULL
            OR last_served_at < COALESCE(:served_at, :now) - :fresh_us
        )
    ORDER BY name
    /* skip_locked */
)
UPDATE forge_queue
SET last_worker = :label, last_served_at = COALESCE(:served_at, :now)
WHERE name IN (SELECT name FROM served)

-- name: lose_worker
UPDATE forge_worker
SET lost_at = :now
WHERE worker_id = :worker_id AND lost_at IS NULL
RETURNING COALESCE(worker_name, worker_id), queues, heartbeat_at

-- name: drop_lost_workers
DELETE FROM forge_worker
WHERE worker_id IN (
    SELECT worker_id
    FROM forge_worker
    WHERE lost_at < :now - :kept_us
    ORDER BY worker_id
    /* skip_locked */
)

-- name: all_slots
SELECT slot_id, queue_name, worker_id, started_at, heartbeat_at, current_job
FROM forge_slot
WHERE heartbeat_at >= :now - :within_us
ORDER BY queue_name, slot_id
LIMIT :limit

-- name: slots_of_queue
SELECT slot_id, queue_name, worker_id, started_at, heartbeat_at, current_job
FROM forge_slot
WHERE queue_name = :queue_name AND heartbeat_at >= :now - :within_us
ORDER BY slot_id
LIMIT :limit

-- name: count_slots
SELECT COUNT(*)
FROM forge_slot
WHERE :any_queue OR queue_name = :queue_name

-- name: all_workers
SELECT worker_id, worker_name, queues, heartbeat_at
FROM forge_worker
WHERE lost_at IS NULL
ORDER BY worker_id

-- name: live_workers
SELECT worker_id, worker_name, queues, heartbeat_at
FROM forge_worker
WHERE heartbeat_at >= :now - :within_us AND lost_at IS NULL
ORDER BY worker_id

-- name: drop_orphan_slots
-- Slots without a worker are left over from a crash.
DELETE FROM forge_slot
WHERE worker_id NOT IN (SELECT worker_id FROM forge_worker WHERE lost_at IS NULL)

-- name: worker_ages
-- Computes the age by the clock of the heartbeat, not by the reader's.
SELECT worker_id, worker_name, queues, heartbeat_at, :now - heartbeat_at
FROM forge_worker
WHERE heartbeat_at >= :now - :within_us AND lost_at IS NULL
ORDER BY worker_id

-- name: service_ages
SELECT services, :now - heartbeat_at
FROM forge_worker
WHERE heartbeat_at >= :now - :within_us AND lost_at IS NULL AND services IS NOT NULL

-- name: slots_of_workers
SELECT
    worker_id, queue_name, COUNT(*),
    SUM(CASE WHEN heartbeat_at >= :now - :within_us THEN 1 ELSE 0 END),
    SUM(
        CASE
            WHEN heartbeat_at >= :now - :within_us AND current_job IS NOT NULL THEN 1
            ELSE 0
        END
    )
FROM forge_slot
GROUP BY worker_id, queue_name
ORDER BY worker_id, queue_name

-- name: unassigned_queues
SELECT name
FROM forge_queue
WHERE NOT EXISTS (
    SELECT 1
    FROM forge_slot
    INNER JOIN forge_worker ON forge_worker.worker_id = forge_slot.worker_id
    WHERE forge_slot.queue_name = forge_queue.name
        AND forge_worker.heartbeat_at >= :now - :within_us
        AND forge_worker.lost_at IS NULL
)
ORDER BY name
