-- What happened to jobs, by level (width of a bucket in seconds), queue, kind, time and
-- process. A process overwrites only its own rows; rows of no host are merged ones.
-- No kind means all kinds of a queue, no queue and no kind all jobs. Level 0 holds what
-- is too old for any bucket, for counters that must never go down.
CREATE TABLE forge_metric (
    level        INTEGER NOT NULL,
    queue_name   TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    bucket_start INTEGER NOT NULL,
    host         TEXT    NOT NULL,
    enqueued     INTEGER NOT NULL,
    started      INTEGER NOT NULL,
    retried      INTEGER NOT NULL,
    completed    INTEGER NOT NULL,
    failed       INTEGER NOT NULL,
    wait_times   TEXT    NOT NULL,
    run_times    TEXT    NOT NULL,
    total_times  TEXT    NOT NULL,
    PRIMARY KEY (level, queue_name, kind, bucket_start, host)
) WITHOUT ROWID;
CREATE INDEX forge_metric_time ON forge_metric (level, bucket_start);
CREATE INDEX forge_metric_unfolded ON forge_metric (level, bucket_start)
    WHERE host <> '';

-- What processes used and how their database did: sums over so many samples.
CREATE TABLE forge_sample (
    level            INTEGER NOT NULL,
    host             TEXT    NOT NULL,
    bucket_start     INTEGER NOT NULL,
    samples          INTEGER NOT NULL,
    cpu_pct          REAL    NOT NULL,
    rss_bytes        INTEGER NOT NULL,
    disk_read_bytes  INTEGER NOT NULL,
    disk_write_bytes INTEGER NOT NULL,
    disk_used_pct    REAL    NOT NULL,
    pool_active      INTEGER NOT NULL,
    pool_idle        INTEGER NOT NULL,
    pool_max         INTEGER NOT NULL,
    db_size_bytes    INTEGER NOT NULL,
    wal_bytes        INTEGER NOT NULL,
    read_times       TEXT    NOT NULL,
    write_times      TEXT    NOT NULL,
    PRIMARY KEY (level, bucket_start, host)
) WITHOUT ROWID;
