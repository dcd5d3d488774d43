-- Token buckets. A refill that begins in the future is a bucket that was drained.
CREATE TABLE forge_rate_limit (
    scope            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    capacity         BIGINT NOT NULL,
    refill_per_sec   DOUBLE PRECISION NOT NULL,
    tokens           DOUBLE PRECISION NOT NULL,
    last_refilled_at BIGINT NOT NULL
);

-- A few hot rows: leave room on the page for their next versions.
ALTER TABLE forge_rate_limit SET (fillfactor = 50);
