-- name: snapshot
SELECT
    queues, counts, waiting, processes,
    (SELECT json_agg(name ORDER BY name)::text FROM forge_queue WHERE throttled_until > :now)
FROM forge_snapshot(:within_us)
