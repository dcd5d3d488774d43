-- name: snapshot
SELECT queues, counts, waiting, processes
FROM forge_snapshot(:within_us)
