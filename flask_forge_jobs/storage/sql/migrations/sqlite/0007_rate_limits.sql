-- Token buckets. A refill that begins in the future is a bucket that was drained.
CREATE TABLE forge_rate_limit (
    scope            TEXT    NOT NULL PRIMARY KEY,
    capacity         INTEGER NOT NULL,
    refill_per_sec   REAL    NOT NULL,
    tokens           REAL    NOT NULL,
    last_refilled_at INTEGER NOT NULL
) WITHOUT ROWID;
