-- name: put_samples
INSERT INTO forge_sample (
    level, worker_id, bucket_start, samples, cpu_pct, rss_bytes, disk_read_bytes,
    disk_write_bytes, disk_used_pct, pool_active, pool_idle, pool_max, db_size_bytes,
    wal_bytes, read_times, write_times
)
SELECT
    v.level, :worker_id, v.bucket_start, v.samples, v.cpu_pct, v.rss_bytes,
    v.disk_read_bytes, v.disk_write_bytes, v.disk_used_pct, v.pool_active, v.pool_idle,
    v.pool_max, v.db_size_bytes, v.wal_bytes, v.read_times, v.write_times
FROM /* rows v: level integer, bucket_start bigint, samples integer, cpu_pct double precision, rss_bytes bigint, disk_read_bytes bigint, disk_write_bytes bigint, disk_used_pct double precision, pool_active bigint, pool_idle bigint, pool_max bigint, db_size_bytes bigint, wal_bytes bigint, read_times text, write_times text */
WHERE TRUE
ON CONFLICT (level, bucket_start, worker_id) DO UPDATE SET
    samples = excluded.samples,
    cpu_pct = excluded.cpu_pct,
    rss_bytes = excluded.rss_bytes,
    disk_read_bytes = excluded.disk_read_bytes,
    disk_write_bytes = excluded.disk_write_bytes,
    disk_used_pct = excluded.disk_used_pct,
    pool_active = excluded.pool_active,
    pool_idle = excluded.pool_idle,
    pool_max = excluded.pool_max,
    db_size_bytes = excluded.db_size_bytes,
    wal_bytes = excluded.wal_bytes,
    read_times = excluded.read_times,
    write_times = excluded.write_times

-- name: samples_within
SELECT
    worker_id, bucket_start, samples, cpu_pct, rss_bytes, disk_read_bytes,
    disk_write_bytes, disk_used_pct, pool_active, pool_idle, pool_max, db_size_bytes,
    wal_bytes, read_times, write_times
FROM forge_sample
WHERE level = :level AND (:any_worker OR worker_id = :worker_id)
    AND bucket_start >= :from_at AND bucket_start < :to_at
ORDER BY worker_id

-- name: worker_names
SELECT worker_id, worker_name FROM forge_worker WHERE worker_name IS NOT NULL

-- name: drop_old_samples
DELETE FROM forge_sample
WHERE (level, bucket_start, worker_id) IN (
    SELECT level, bucket_start, worker_id
    FROM forge_sample
    WHERE level = :level AND bucket_start < :cutoff
    ORDER BY bucket_start
    LIMIT :limit
)
