-- name: waiting
SELECT queue_name, overdue, waited_s
FROM forge_waiting()

-- name: snapshot
SELECT queues, counts, waiting, processes
FROM forge_snapshot(:within_us)
