-- What happened to jobs, by level (width of a bucket in seconds), queue, kind, time and
-- process. A process overwrites only its own rows; rows of no host are merged ones.
-- No kind means all kinds of a queue, no queue and no kind all jobs. Level 0 holds what
-- is too old for any bucket, for counters that must never go down.
CREATE TABLE forge_metric (
    level        INTEGER NOT NULL,
    queue_name   TEXT COLLATE "C" NOT NULL,
    kind         TEXT COLLATE "C" NOT NULL,
    bucket_start BIGINT  NOT NULL,
    host         TEXT COLLATE "C" NOT NULL,
    enqueued     BIGINT  NOT NULL,
    started      BIGINT  NOT NULL,
    retried      BIGINT  NOT NULL,
    completed    BIGINT  NOT NULL,
    failed       BIGINT  NOT NULL,
    wait_times   TEXT    NOT NULL,
    run_times    TEXT    NOT NULL,
    total_times  TEXT    NOT NULL,
    PRIMARY KEY (level, queue_name, kind, bucket_start, host)
);
CREATE INDEX forge_metric_time ON forge_metric (level, bucket_start);
CREATE INDEX forge_metric_unfolded ON forge_metric (level, bucket_start)
    WHERE host <> '';
-- The rows of the running buckets are overwritten every two seconds.
ALTER TABLE forge_metric SET (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000
);

-- What processes used and how their database did: sums over so many samples.
CREATE TABLE forge_sample (
    level            INTEGER NOT NULL,
    host             TEXT COLLATE "C" NOT NULL,
    bucket_start     BIGINT  NOT NULL,
    samples          INTEGER NOT NULL,
    cpu_pct          DOUBLE PRECISION NOT NULL,
    rss_bytes        BIGINT  NOT NULL,
    disk_read_bytes  BIGINT  NOT NULL,
    disk_write_bytes BIGINT  NOT NULL,
    disk_used_pct    DOUBLE PRECISION NOT NULL,
    pool_active      BIGINT  NOT NULL,
    pool_idle        BIGINT  NOT NULL,
    pool_max         BIGINT  NOT NULL,
    db_size_bytes    BIGINT  NOT NULL,
    wal_bytes        BIGINT  NOT NULL,
    read_times       TEXT    NOT NULL,
    write_times      TEXT    NOT NULL,
    PRIMARY KEY (level, bucket_start, host)
);
