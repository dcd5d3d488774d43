-- Instants are whole microseconds since the Unix epoch, UTC.

CREATE TABLE forge_job (
    id                  TEXT    NOT NULL PRIMARY KEY,
    queue_name          TEXT    NOT NULL,
    kind                TEXT    NOT NULL,
    payload             TEXT    NOT NULL,
    -- A list of three or more values would be a table that each statement fills first.
    status              TEXT    NOT NULL DEFAULT 'pending' CHECK (
        status = 'pending' OR status = 'in_progress' OR status = 'done'
        OR status = 'failed' OR status = 'dead'
    ),
    -- Of the last failure; NULL if none, or if the job was cancelled since.
    signature           TEXT,
    priority            INTEGER NOT NULL DEFAULT 0,
    enqueued_at         INTEGER NOT NULL,
    scheduled_at        INTEGER NOT NULL,
    -- Scheduled for later; keeps the row out of forge_job_claim.
    deferred            BOOLEAN NOT NULL DEFAULT FALSE,
    started_at          INTEGER,
    completed_at        INTEGER,
    attempts            INTEGER NOT NULL DEFAULT 0,
    max_attempts        INTEGER NOT NULL DEFAULT 5,
    throttle_attempts   INTEGER NOT NULL DEFAULT 0,
    -- How often a worker died while it ran the job.
    crashes             INTEGER NOT NULL DEFAULT 0,
    last_error          TEXT,
    -- Failures as JSON; NULL before the first one, as of most jobs.
    error_history       TEXT,
    worker_id           TEXT,
    heartbeat_at        INTEGER,
    dedupe_key          TEXT,
    cancel_requested_at INTEGER,
    -- Of the user's cancellation; a cancelled job that is dead has a request.
    cancel_reason       TEXT,
    timeout_s           REAL,
    result              TEXT,
    -- Why the task's return value is not stored.
    result_error        TEXT,
    progress            TEXT,
    -- The cron schedule that made the job.
    schedule_name       TEXT,
    -- Context of the request or job that enqueued it, such as its id and trace.
    carried             TEXT,
    -- The instant of its schedule that it was fired for; unique.
    fire_at             INTEGER,
    -- Of a task with a concurrency limit: jobs that share a limit share the key. A job
    -- counts for as long as it runs in the run that was admitted.
    concurrency_key     TEXT,
    -- The start of the run that was admitted; NULL while a job waits for the limit.
    admitted_at         INTEGER,
    -- How often it was claimed. Never reset, so it identifies a run; attempts are reset.
    claims              INTEGER NOT NULL DEFAULT 0,
    -- The batch that counts it. NULL, as the next two, of most jobs.
    batch_id            TEXT,
    -- The earliest start of a job that waits for others; until then scheduled_at is the end
    -- of the year 9999. It stays if one of them died, so that both may be tried again.
    start_at            INTEGER,
    -- 1: others wait, or have waited, for this job; 2: it has waited for others; 3: both.
    ties                INTEGER
);

CREATE INDEX forge_job_claim ON forge_job (queue_name, priority, scheduled_at, id)
    WHERE status IN ('pending', 'failed') AND NOT deferred;
CREATE INDEX forge_job_deferred ON forge_job (queue_name, scheduled_at)
    WHERE deferred;
-- Lists of failed jobs; no other job has an entry.
CREATE INDEX forge_job_retry ON forge_job (queue_name, scheduled_at)
    WHERE status = 'failed';
CREATE UNIQUE INDEX forge_job_dedupe ON forge_job (dedupe_key)
    WHERE dedupe_key IS NOT NULL AND status IN ('pending', 'in_progress', 'failed');
CREATE INDEX forge_job_running ON forge_job (worker_id, id)
    WHERE status = 'in_progress';
CREATE INDEX forge_job_cancelled ON forge_job (worker_id)
    WHERE status = 'in_progress' AND cancel_requested_at IS NOT NULL;
CREATE INDEX forge_job_finished ON forge_job (queue_name, status, completed_at)
    WHERE completed_at IS NOT NULL;
-- Without the id, the tie-breaker, which would be a third of each entry.
CREATE INDEX forge_job_list ON forge_job (queue_name, kind, status, enqueued_at);
CREATE INDEX forge_job_key ON forge_job (dedupe_key, enqueued_at, id)
    WHERE dedupe_key IS NOT NULL;
CREATE INDEX forge_job_schedule ON forge_job (schedule_name, enqueued_at, id)
    WHERE schedule_name IS NOT NULL;
CREATE UNIQUE INDEX forge_job_firing ON forge_job (schedule_name, fire_at)
    WHERE fire_at IS NOT NULL;
CREATE INDEX forge_job_signature ON forge_job (signature, enqueued_at, id)
    WHERE signature IS NOT NULL AND status IN ('failed', 'dead');
CREATE INDEX forge_job_concurrency ON forge_job (concurrency_key)
    WHERE status = 'in_progress' AND concurrency_key IS NOT NULL;
CREATE INDEX forge_job_concurrency_waiting ON forge_job (concurrency_key, priority, id)
    WHERE deferred AND concurrency_key IS NOT NULL AND admitted_at IS NULL;

-- Triggers keep the counts equal to the rows. Readers sum, as PostgreSQL needs it.
CREATE TABLE forge_job_count (
    queue_name TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    status     TEXT    NOT NULL,
    deferred   BOOLEAN NOT NULL,
    jobs       INTEGER NOT NULL,
    -- No job in here was enqueued later. It may have left, so the newest one may be older.
    newest_at  INTEGER NOT NULL,
    PRIMARY KEY (queue_name, kind, status, deferred)
) WITHOUT ROWID;

CREATE TRIGGER forge_job_count_insert AFTER INSERT ON forge_job BEGIN
    INSERT INTO forge_job_count (queue_name, kind, status, deferred, jobs, newest_at)
    VALUES (new.queue_name, new.kind, new.status, new.deferred, 1, new.enqueued_at)
    ON CONFLICT (queue_name, kind, status, deferred) DO UPDATE
    SET jobs = jobs + 1, newest_at = max(newest_at, excluded.newest_at);
END;

CREATE TRIGGER forge_job_count_update
AFTER UPDATE OF queue_name, kind, status, deferred ON forge_job
WHEN old.status <> new.status OR old.deferred <> new.deferred
    OR old.queue_name <> new.queue_name OR old.kind <> new.kind
BEGIN
    UPDATE forge_job_count SET jobs = jobs - 1
    WHERE queue_name = old.queue_name AND kind = old.kind
        AND status = old.status AND deferred = old.deferred;
    INSERT INTO forge_job_count (queue_name, kind, status, deferred, jobs, newest_at)
    VALUES (new.queue_name, new.kind, new.status, new.deferred, 1, new.enqueued_at)
    ON CONFLICT (queue_name, kind, status, deferred) DO UPDATE
    SET jobs = jobs + 1, newest_at = max(newest_at, excluded.newest_at);
END;

CREATE TRIGGER forge_job_count_delete AFTER DELETE ON forge_job BEGIN
    UPDATE forge_job_count SET jobs = jobs - 1
    WHERE queue_name = old.queue_name AND kind = old.kind
        AND status = old.status AND deferred = old.deferred;
END;

-- The runs of jobs, numbered by their claims. A job that was done at its first attempt has
-- none: its own row has the same facts.
CREATE TABLE forge_attempt (
    job_id      TEXT    NOT NULL,
    run         INTEGER NOT NULL,
    -- Repeats after a throttle, and begins again with a retry by a user.
    attempt     INTEGER NOT NULL,
    due_at      INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    ended_at    INTEGER NOT NULL,
    worker_id   TEXT,
    worker_name TEXT,
    host        TEXT,
    slot        INTEGER,
    ending      TEXT    NOT NULL CHECK (
        ending IN (
            'done', 'failed', 'timed_out', 'crashed', 'throttled', 'snoozed',
            'cancelled', 'released'
        )
    ),
    error       TEXT,
    traceback   TEXT,
    -- The error without the parts that differ from one failure to the next.
    signature   TEXT,
    PRIMARY KEY (job_id, run)
) WITHOUT ROWID;
-- The jobs of a lost worker.
CREATE INDEX forge_attempt_crashed ON forge_attempt (worker_id)
    WHERE ending = 'crashed';

-- Lines that tasks have logged. A row is one write of a run: a JSON array of the attempt
-- and of its lines, each an array of instant, level, logger and text. The first line is
-- counted from 0 within the run; a repeated write begins with the same one.
CREATE TABLE forge_log (
    job_id     TEXT    NOT NULL,
    run        INTEGER NOT NULL,
    first_line INTEGER NOT NULL,
    lines      TEXT    NOT NULL,
    PRIMARY KEY (job_id, run, first_line)
);

-- Results of a job's steps, by name, for its next run. The row without a name has the value
-- that the task saved last.
CREATE TABLE forge_step (
    job_id TEXT    NOT NULL,
    name   TEXT    NOT NULL,
    run    INTEGER NOT NULL,
    result TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (job_id, name)
);

-- Nothing of a job outlives it. Most jobs have no attempts beside their own row.
CREATE TRIGGER forge_job_delete AFTER DELETE ON forge_job BEGIN
    DELETE FROM forge_attempt
    WHERE job_id = old.id AND (old.status <> 'done' OR old.claims > 1);
    DELETE FROM forge_log WHERE job_id = old.id;
    DELETE FROM forge_step WHERE job_id = old.id;
END;

-- Failures, and the failed and dead jobs now, by signature. Changes are appended, and
-- added to forge_error and forge_error_bucket later; readers sum.
CREATE TABLE forge_error_change (
    id         INTEGER PRIMARY KEY,
    signature  TEXT NOT NULL,
    queue_name TEXT NOT NULL,
    kind       TEXT NOT NULL,
    -- Of the failures; NULL for a change of the other counts.
    at         INTEGER,
    failures   INTEGER NOT NULL DEFAULT 0,
    retrying   INTEGER NOT NULL DEFAULT 0,
    dead       INTEGER NOT NULL DEFAULT 0,
    -- The last job that failed, and its error.
    job_id     TEXT,
    message    TEXT
);

CREATE TABLE forge_error (
    signature  TEXT NOT NULL,
    queue_name TEXT NOT NULL,
    kind       TEXT NOT NULL,
    -- Those of the days in forge_error_bucket together.
    failures   INTEGER NOT NULL,
    -- The first failure may have left, as long as others follow.
    first_at   INTEGER,
    last_at    INTEGER,
    retrying   INTEGER NOT NULL,
    dead       INTEGER NOT NULL,
    job_id     TEXT,
    message    TEXT,
    PRIMARY KEY (signature, queue_name, kind)
) WITHOUT ROWID;
CREATE INDEX forge_error_kind ON forge_error (queue_name, kind);

-- Failures by hour for a day, and all of them by day for a month.
CREATE TABLE forge_error_bucket (
    width_s      INTEGER NOT NULL,
    signature    TEXT NOT NULL,
    queue_name   TEXT NOT NULL,
    kind         TEXT NOT NULL,
    bucket_start INTEGER NOT NULL,
    failures     INTEGER NOT NULL,
    PRIMARY KEY (width_s, signature, queue_name, kind, bucket_start)
) WITHOUT ROWID;
CREATE INDEX forge_error_bucket_time ON forge_error_bucket (width_s, bucket_start);

CREATE TRIGGER forge_job_error_update
AFTER UPDATE OF queue_name, kind, status, signature ON forge_job
WHEN (old.signature IS NOT NULL OR new.signature IS NOT NULL)
    AND (
        old.status <> new.status OR old.signature IS NOT new.signature
        OR old.queue_name <> new.queue_name OR old.kind <> new.kind
    )
BEGIN
    INSERT INTO forge_error_change (signature, queue_name, kind, retrying, dead)
    SELECT
        old.signature, old.queue_name, old.kind,
        -(old.status = 'failed'), -(old.status = 'dead')
    WHERE old.signature IS NOT NULL AND old.status IN ('failed', 'dead');
    INSERT INTO forge_error_change (signature, queue_name, kind, retrying, dead)
    SELECT
        new.signature, new.queue_name, new.kind,
        new.status = 'failed', new.status = 'dead'
    WHERE new.signature IS NOT NULL AND new.status IN ('failed', 'dead');
END;

CREATE TRIGGER forge_job_error_delete AFTER DELETE ON forge_job
WHEN old.signature IS NOT NULL AND old.status IN ('failed', 'dead')
BEGIN
    INSERT INTO forge_error_change (signature, queue_name, kind, retrying, dead)
    VALUES (
        old.signature, old.queue_name, old.kind,
        -(old.status = 'failed'), -(old.status = 'dead')
    );
END;

-- Jobs that wait for others: a row for each pair, kept until the waiting job is deleted. A
-- parent is a job or a batch. Ids ascend from parent to child, so the order of ids, in
-- which all statements lock jobs, is also an order of the pairs.
CREATE TABLE forge_link (
    child_id    TEXT NOT NULL,
    parent_id   TEXT NOT NULL,
    -- NULL of a batch.
    parent_kind TEXT,
    on_dead     TEXT NOT NULL CHECK (on_dead IN ('cancel', 'run', 'hold')),
    -- How the parent ended, as far as this child is concerned; NULL while it waits.
    ended       TEXT CHECK (ended IN ('done', 'dead', 'deleted', 'released')),
    result      TEXT,
    error       TEXT,
    PRIMARY KEY (child_id, parent_id),
    CHECK (parent_id < child_id)
) WITHOUT ROWID;
CREATE INDEX forge_link_parent ON forge_link (parent_id, child_id);

-- Those pairs of which the parent has ended without being done and the child waits on. A row
-- outlives that for a minute.
CREATE TABLE forge_hold (
    parent_id TEXT NOT NULL,
    child_id  TEXT NOT NULL,
    PRIMARY KEY (parent_id, child_id)
) WITHOUT ROWID;

-- Batches, with the counts of their jobs. A deleted job counts as removed unless it had
-- ended.
CREATE TABLE forge_batch (
    id                  TEXT    NOT NULL PRIMARY KEY,
    name                TEXT    NOT NULL,
    data                TEXT    NOT NULL,
    total               INTEGER NOT NULL DEFAULT 0,
    done                INTEGER NOT NULL DEFAULT 0,
    dead                INTEGER NOT NULL DEFAULT 0,
    removed             INTEGER NOT NULL DEFAULT 0,
    -- All jobs that its producer has are in it; it ends when they have.
    is_sealed           BOOLEAN NOT NULL,
    cancel_on_dead      BOOLEAN NOT NULL,
    cancel_requested_at INTEGER,
    -- JSON of the jobs to store at its events, with their ids.
    on_success          TEXT,
    on_finished         TEXT,
    on_dead             TEXT,
    -- When the events came, of which each comes once.
    succeeded_at        INTEGER,
    finished_at         INTEGER,
    died_at             INTEGER,
    -- The batch that counts it as one of its jobs.
    within              TEXT,
    created_at          INTEGER NOT NULL,
    last_added_at       INTEGER NOT NULL,
    -- NULL while a job of it is unfinished, also after a retry.
    completed_at        INTEGER,
    -- The queues of all jobs that it has had, and of those at its events: JSON strings with
    -- commas between.
    queues              TEXT    NOT NULL DEFAULT ''
);
CREATE INDEX forge_batch_created ON forge_batch (created_at, id);
CREATE INDEX forge_batch_open ON forge_batch (created_at) WHERE completed_at IS NULL;
CREATE INDEX forge_batch_within ON forge_batch (within, id) WHERE within IS NOT NULL;

-- The ids of the jobs of a batch. Those of one call are consecutive numbers, which are one
-- row, and no other job has an id between them. An index of forge_job would be written at
-- each change of a job.
CREATE TABLE forge_batch_range (
    batch_id TEXT NOT NULL,
    first_id TEXT NOT NULL,
    last_id  TEXT NOT NULL,
    PRIMARY KEY (batch_id, first_id)
) WITHOUT ROWID;

-- Its dead jobs, which are few.
CREATE TABLE forge_batch_dead (
    batch_id TEXT NOT NULL,
    job_id   TEXT NOT NULL,
    PRIMARY KEY (batch_id, job_id)
) WITHOUT ROWID;

CREATE TRIGGER forge_batch_delete AFTER DELETE ON forge_batch
BEGIN
    DELETE FROM forge_batch_range WHERE batch_id = OLD.id;
    DELETE FROM forge_batch_dead WHERE batch_id = OLD.id;
END;

CREATE TABLE forge_queue (
    name                 TEXT    NOT NULL PRIMARY KEY,
    max_workers          INTEGER NOT NULL,
    paused               BOOLEAN NOT NULL DEFAULT FALSE,
    retain_done_for_days INTEGER NOT NULL DEFAULT 7,
    retain_dead_for_days INTEGER NOT NULL DEFAULT 30,
    backoff_enabled      BOOLEAN NOT NULL DEFAULT FALSE,
    backoff_base_seconds INTEGER NOT NULL DEFAULT 60,
    backoff_max_seconds  INTEGER NOT NULL DEFAULT 1800,
    throttle_attempts    INTEGER NOT NULL DEFAULT 0,
    throttled_until      INTEGER,
    updated_at           INTEGER NOT NULL,
    -- Enqueuing fails while this many jobs wait; NULL means no bound.
    max_pending          INTEGER,
    -- Of a paused queue: the time, the user and the reason.
    paused_at            INTEGER,
    paused_by            TEXT,
    pause_reason         TEXT,
    -- The cause of the cool-down: the job that was throttled, or else the operator; and
    -- the reason given.
    throttled_job_id     TEXT,
    throttled_kind       TEXT,
    throttled_by         TEXT,
    throttle_cause       TEXT,
    -- The worker that served it last; written once a minute, and when a worker leaves.
    last_worker          TEXT,
    last_served_at       INTEGER
) WITHOUT ROWID;

CREATE TABLE forge_slot (
    slot_id      TEXT    NOT NULL PRIMARY KEY,
    queue_name   TEXT    NOT NULL,
    worker_id    TEXT    NOT NULL,
    started_at   INTEGER NOT NULL,
    heartbeat_at INTEGER NOT NULL,
    current_job  TEXT
) WITHOUT ROWID;
CREATE INDEX forge_slot_queue ON forge_slot (queue_name, slot_id);
CREATE INDEX forge_slot_worker ON forge_slot (worker_id);

CREATE TABLE forge_worker (
    worker_id    TEXT    NOT NULL PRIMARY KEY,
    heartbeat_at INTEGER NOT NULL,
    worker_name  TEXT,
    queues       TEXT,
    -- The age of each service's last tick at the heartbeat.
    services     TEXT,
    threads      INTEGER,
    -- The kinds of its tasks, each between two line feeds; empty if too many.
    kinds        TEXT,
    started_at   INTEGER NOT NULL,
    -- Of the package; NULL of a worker that did not say, as host and pid.
    version      TEXT,
    host         TEXT,
    pid          INTEGER,
    -- When other workers took its jobs. The row stays for an hour, but the worker counts
    -- no more; a heartbeat makes it live again.
    lost_at      INTEGER
) WITHOUT ROWID;

-- Bulk actions that run outside of their request, batch by batch. Each batch stores its
-- jobs, what it has changed and a longer lease in one transaction, so a process that takes
-- over goes on where the last one was.
CREATE TABLE forge_bulk_run (
    id         TEXT    NOT NULL PRIMARY KEY,
    action     TEXT    NOT NULL,
    -- JSON of the filter, the queues of its author included.
    jobs       TEXT    NOT NULL,
    run_at     INTEGER,
    matched    INTEGER NOT NULL,
    changed    INTEGER NOT NULL DEFAULT 0,
    skipped    INTEGER NOT NULL DEFAULT 0,
    -- JSON of the last job of the walk; NULL at its start.
    place      TEXT,
    state      TEXT    NOT NULL DEFAULT 'running'
        CHECK (state IN ('running', 'done', 'stopped', 'failed')),
    error      TEXT,
    -- For the audit trail.
    actor      TEXT    NOT NULL,
    address    TEXT    NOT NULL,
    request_id TEXT    NOT NULL,
    arguments  TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    ended_at   INTEGER,
    holder     TEXT,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX forge_bulk_run_open ON forge_bulk_run (expires_at) WHERE state = 'running';

-- For work that one process at a time may do.
CREATE TABLE forge_lease (
    name       TEXT    NOT NULL PRIMARY KEY,
    holder     TEXT    NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;

-- Figures by level (bucket width in seconds), queue, kind, time and source (the process
-- that counted). A source adds to its own rows only; merged rows have no source. Rows
-- without a kind are for a whole queue, without a queue too for all jobs. Level 0 sums what
-- is too old for any bucket, for counters that must never go down. Level -1 has the names
-- of these counters.
CREATE TABLE forge_metric (
    level        INTEGER NOT NULL,
    queue_name   TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    bucket_start INTEGER NOT NULL,
    source       TEXT    NOT NULL,
    enqueued     INTEGER NOT NULL,
    started      INTEGER NOT NULL,
    retried      INTEGER NOT NULL,
    completed    INTEGER NOT NULL,
    dead         INTEGER NOT NULL,
    refused      INTEGER NOT NULL,
    cancelled    INTEGER NOT NULL,
    wait_times   TEXT    NOT NULL,
    run_times    TEXT    NOT NULL,
    total_times  TEXT    NOT NULL,
    PRIMARY KEY (level, queue_name, kind, bucket_start, source)
) WITHOUT ROWID;
-- The counts let the attention report read no row, of which a page holds eight.
CREATE INDEX forge_metric_time ON forge_metric (
    level, bucket_start, queue_name, kind, completed, retried, dead
);
CREATE INDEX forge_metric_unfolded ON forge_metric (level, bucket_start)
    WHERE source <> '';

-- The number of each source's last write, so that none is stored twice.
CREATE TABLE forge_metric_source (
    source TEXT    NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL
) WITHOUT ROWID;

-- Resource use of processes and their database: sums over several samples.
CREATE TABLE forge_sample (
    level            INTEGER NOT NULL,
    worker_id        TEXT    NOT NULL,
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
    PRIMARY KEY (level, bucket_start, worker_id)
) WITHOUT ROWID;

-- What waits and runs in each queue, and who could run more: sums over several minutes, and
-- the oldest wait among them. The empty name stands for all queues.
CREATE TABLE forge_gauge (
    level         INTEGER NOT NULL,
    queue_name    TEXT    NOT NULL,
    bucket_start  INTEGER NOT NULL,
    samples       INTEGER NOT NULL,
    waiting       INTEGER NOT NULL,
    oldest_wait_s INTEGER NOT NULL,
    running       INTEGER NOT NULL,
    free_slots    INTEGER NOT NULL,
    live_workers  INTEGER NOT NULL,
    PRIMARY KEY (level, queue_name, bucket_start)
) WITHOUT ROWID;
CREATE INDEX forge_gauge_time ON forge_gauge (level, bucket_start);

-- The audit trail. Triggers refuse updates, replacements, and deletions within 90 days.
CREATE TABLE forge_audit (
    -- A trigger sees -1 in the place of an id that is yet to be made.
    id         INTEGER PRIMARY KEY AUTOINCREMENT CHECK (id > 0),
    at         INTEGER NOT NULL,
    actor      TEXT    NOT NULL,
    action     TEXT    NOT NULL,
    target     TEXT,
    address    TEXT    NOT NULL,
    request_id TEXT    NOT NULL,
    -- HTTP status of the answer; refused requests have rows too.
    status     INTEGER NOT NULL,
    changed    INTEGER NOT NULL,
    arguments  TEXT    NOT NULL,
    -- Number of requests; equal refused ones share a row.
    requests   INTEGER NOT NULL DEFAULT 1
);

CREATE INDEX forge_audit_time ON forge_audit (at, id);
CREATE INDEX forge_audit_actor ON forge_audit (actor, at, id);
CREATE INDEX forge_audit_target ON forge_audit (target, at, id)
    WHERE target IS NOT NULL;

CREATE TRIGGER forge_audit_no_update BEFORE UPDATE ON forge_audit BEGIN
    SELECT RAISE(ABORT, 'forge_audit is append-only');
END;

-- INSERT OR REPLACE deletes without the triggers of a deletion.
CREATE TRIGGER forge_audit_no_replace BEFORE INSERT ON forge_audit
WHEN EXISTS (SELECT 1 FROM forge_audit WHERE id = new.id)
BEGIN
    SELECT RAISE(ABORT, 'forge_audit is append-only');
END;

CREATE TRIGGER forge_audit_no_delete BEFORE DELETE ON forge_audit
WHEN old.at > (CAST(strftime('%s', 'now') AS INTEGER) - 7776000) * 1000000
BEGIN
    SELECT RAISE(ABORT, 'forge_audit is append-only');
END;

-- Cron schedules.
CREATE TABLE forge_cron (
    name          TEXT NOT NULL PRIMARY KEY,
    kind          TEXT    NOT NULL,
    payload       TEXT    NOT NULL,
    queue_name    TEXT,
    cron_expr     TEXT    NOT NULL,
    timezone      TEXT    NOT NULL,
    enabled       BOOLEAN NOT NULL,
    max_attempts  INTEGER,
    dedupe_key    TEXT,
    last_fired_at INTEGER,
    next_fire_at  INTEGER,
    last_error    TEXT,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    -- The rule for missed firings.
    catch_up      TEXT    NOT NULL DEFAULT 'once',
    catch_up_limit INTEGER NOT NULL DEFAULT 100,
    -- The application that declares the schedule, and its last declaration.
    declared_by   TEXT,
    declared_as   TEXT,
    CHECK (next_fire_at IS NOT NULL OR NOT enabled)
) WITHOUT ROWID;

-- Answers to requests with an idempotency key.
CREATE TABLE forge_request_key (
    caller      TEXT    NOT NULL,
    request_key TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL,
    answer      TEXT    NOT NULL,
    expires_at  INTEGER NOT NULL,
    PRIMARY KEY (caller, request_key)
);
CREATE INDEX forge_request_key_expiry ON forge_request_key (expires_at);

-- Token buckets. A drained one has last_refilled_at in the future.
CREATE TABLE forge_rate_limit (
    scope            TEXT    NOT NULL PRIMARY KEY,
    capacity         INTEGER NOT NULL,
    refill_per_sec   REAL    NOT NULL,
    tokens           REAL    NOT NULL,
    last_refilled_at INTEGER NOT NULL,
    -- When the last caller in line gets its tokens.
    line_ends_at     INTEGER NOT NULL DEFAULT 0,
    -- The last declaration in an application's code.
    declared_as      TEXT
) WITHOUT ROWID;

-- Jobs to enqueue when a job of a kind ends dead or cancelled. The transaction that ends it
-- does so, so the process need not know the task.
CREATE TABLE forge_follow_up (
    of_kind      TEXT NOT NULL,
    ending       TEXT NOT NULL CHECK (ending IN ('dead', 'cancelled')),
    kind         TEXT    NOT NULL,
    parameter    TEXT    NOT NULL,
    queue_name   TEXT    NOT NULL,
    priority     INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    -- The application that declares it.
    declared_by  TEXT    NOT NULL,
    PRIMARY KEY (of_kind, ending)
) WITHOUT ROWID;
