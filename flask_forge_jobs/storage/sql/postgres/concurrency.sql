-- name: acquire_concurrency
SELECT is_admitted
FROM forge_acquire_concurrency(
    :job_id, :worker_id, :run, :concurrency_key, :max_concurrent
) AS is_admitted
WHERE is_admitted IS NOT NULL
