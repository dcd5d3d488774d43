-- Batches: their rows, their jobs and their counts.

-- fragment: batch_columns
-- In the order of Batch's fields but the last.
id, name, data, /* use counts_and_times */

-- fragment: listed_columns
-- The same without the data.
id, name, 'null', /* use counts_and_times */

-- fragment: counts_and_times
total, done, dead, removed, is_sealed, cancel_on_dead, cancel_requested_at, on_success,
on_finished, on_dead, succeeded_at, finished_at, died_at, within, created_at, last_added_at,
completed_at, queues

-- name: create_batch
-- Stores nothing if an earlier commit, whose answer was lost, has stored it.
INSERT INTO forge_batch (
    id, name, data, is_sealed, cancel_on_dead, on_success, on_finished, on_dead, within,
    created_at, last_added_at, queues
)
VALUES (
    :id, :name, :data, :is_sealed, :cancel_on_dead, :on_success, :on_finished, :on_dead,
    :within, :now, :now, :queues
)
ON CONFLICT DO NOTHING
RETURNING id

-- name: lock_batches
-- For whoever adds jobs: until the commit, none of them can end.
SELECT id, cancel_requested_at
FROM forge_batch
WHERE id IN (SELECT v.batch_id FROM /* rows v: batch_id text */)
ORDER BY id
/* for_share */

-- name: lock_batches_alone
-- For jobs that wait for batches, and have one: no other session does so meanwhile.
SELECT id, cancel_requested_at
FROM forge_batch
WHERE id IN (SELECT v.batch_id FROM /* rows v: batch_id text */)
ORDER BY id
/* for_no_key_update */

-- name: note_addition
UPDATE forge_batch
SET last_added_at = :now
WHERE id = :id AND last_added_at < :now - 60000000

-- fragment: around
-- A batch, or that of a job, and those around it.
around (id, within) AS (
    SELECT id, within
    FROM forge_batch
    WHERE id IN (:id, (SELECT batch_id FROM forge_job WHERE id = :id))
    UNION
    SELECT outside.id, outside.within
    FROM forge_batch AS outside
    INNER JOIN around ON outside.id = around.within
)

-- name: depth_of_batch
WITH RECURSIVE /* use around */
SELECT COUNT(*)
FROM around

-- name: note_batch_queue
-- A queue that is new to a batch and to those around it.
WITH RECURSIVE /* use around */
UPDATE forge_batch
SET queues = CASE WHEN queues = '' THEN :name ELSE queues || ',' || :name END
WHERE id IN (SELECT id FROM around)
    AND REPLACE(',' || queues || ',', ',' || :name || ',', '') = ',' || queues || ','

-- name: seal_batch
UPDATE forge_batch
SET is_sealed = TRUE
WHERE id = :id AND NOT is_sealed
RETURNING id

-- name: mark_batch
-- The events that have come, each once.
UPDATE forge_batch
SET
    completed_at = CASE WHEN :has_ended THEN COALESCE(completed_at, :now) END,
    finished_at = CASE
        WHEN :has_ended THEN COALESCE(finished_at, :now) ELSE finished_at
    END,
    succeeded_at = CASE
        WHEN :has_succeeded THEN COALESCE(succeeded_at, :now) ELSE succeeded_at
    END,
    died_at = CASE WHEN :has_died THEN COALESCE(died_at, :now) ELSE died_at END,
    cancel_requested_at = CASE
        WHEN :is_cancelled THEN COALESCE(cancel_requested_at, :now)
        ELSE cancel_requested_at
    END
WHERE id = :id

-- name: request_batch_cancel
UPDATE forge_batch
SET cancel_requested_at = COALESCE(cancel_requested_at, :now), is_sealed = TRUE
WHERE id = :id AND completed_at IS NULL
RETURNING id

-- fragment: to_tend
-- A producer that adds nothing to an open batch for so long counts as dead. Its last
-- addition was up to a minute later than the one that was noted.
completed_at IS NULL
    AND (
        cancel_requested_at IS NOT NULL
        OR (NOT is_sealed AND last_added_at < :now - :age_us - 60000000)
    )

-- name: cancel_left_batch
-- Nothing if it was sealed, has got jobs or was retried since a worker has listed it.
UPDATE forge_batch
SET cancel_requested_at = COALESCE(cancel_requested_at, :now), is_sealed = TRUE
WHERE id = :id AND NOT is_sealed AND /* use to_tend */
RETURNING id

-- name: lock_request
-- Whether a batch is cancelled: until the commit, no other request changes that.
SELECT cancel_requested_at IS NOT NULL
FROM forge_batch
WHERE id = :id
/* for_share */

-- name: allow_batch
-- After a retry, jobs of the batch may be added again, and to those around it, whose
-- cancellation would end them all.
WITH RECURSIVE /* use around */
UPDATE forge_batch
SET cancel_requested_at = NULL
WHERE cancel_requested_at IS NOT NULL AND id IN (SELECT id FROM around)

-- name: batch_counts
SELECT /* use batch_columns */
FROM /* use counted_batches */
WHERE id = :id

-- name: get_batch
SELECT /* use batch_columns */, COALESCE(running.jobs, 0)
FROM /* use counted_batches */
/* use with_running */
WHERE id = :id

-- fragment: with_running
-- All running jobs are read once, however many batches there are.
LEFT JOIN (
    SELECT member.batch_id, COUNT(*) AS jobs
    FROM /* use running_members */
    GROUP BY member.batch_id
) AS running ON running.batch_id = b.id

-- name: page_of_batches
-- Served by forge_batch_created, or forge_batch_open.
SELECT /* use listed_columns */, COALESCE(running.jobs, 0)
FROM /* use counted_batches */
/* use with_running */
WHERE (created_at, id) < (:at, :id) AND (NOT :is_open OR completed_at IS NULL)
    AND (
        :any_queue
        OR (
            queues <> '' AND NOT EXISTS (
                SELECT 1
                FROM /* use queues_of_batch */
                WHERE queue.value NOT IN (
                    SELECT v.name FROM /* rows v: name text = :queues */
                )
            )
        )
    )
ORDER BY created_at DESC, id DESC
LIMIT :limit

-- name: jobs_of_batch
-- Jobs in a state, or in any; those that may be cancelled; or jobs that do not wait for
-- others and have not died with one. Served by the primary keys, as the next ones.
SELECT job.id
FROM /* use jobs_of_ranges */

-- name: results_of_batch
SELECT job.id, job.result
FROM /* use jobs_of_ranges */

-- name: first_jobs_of_batch
WITH page AS MATERIALIZED (
    SELECT job.id AS page_id
    FROM /* use jobs_of_ranges */
)
SELECT /* use summary_columns */
FROM page
CROSS JOIN forge_job
WHERE forge_job.id = page_id
ORDER BY page_id

-- name: dead_jobs_of_batch
-- Served by the primary key of forge_batch_dead.
SELECT /* use summary_columns */
FROM forge_batch_dead AS member
INNER JOIN forge_job ON forge_job.id = member.job_id
WHERE member.batch_id = :id AND member.job_id > :after
    AND COALESCE(forge_job.status, '') = 'dead'
ORDER BY member.job_id
LIMIT :limit

-- name: running_jobs_of_batch
-- Served by forge_job_running: there are never many. The blank keeps SQLite from the ids.
WITH page AS MATERIALIZED (
    SELECT member.id AS page_id
    FROM /* use running_members */
    WHERE member.batch_id = :id AND member.id || '' > :after
)
SELECT /* use summary_columns */
FROM page
INNER JOIN forge_job ON forge_job.id = page_id
ORDER BY page_id
LIMIT :limit

-- name: jobs_of_batch_in_state
-- Looks at :limit jobs, and returns the last one that it has looked at if there may be
-- more; that comes without a job if none has the state.
WITH page AS MATERIALIZED (
    SELECT job.id AS page_id
    FROM /* use jobs_of_ranges */
), matching AS MATERIALIZED (
    SELECT page_id
    FROM page
    CROSS JOIN forge_job
    WHERE forge_job.id = page_id AND COALESCE(forge_job.status, '') = :state
    ORDER BY page_id
    LIMIT :shown
)
SELECT walk.last_id, /* use summary_columns */
FROM (
    SELECT CASE WHEN COUNT(*) = :limit THEN MAX(page_id) END AS last_id FROM page
) AS walk
LEFT JOIN matching ON TRUE
LEFT JOIN forge_job ON forge_job.id = matching.page_id
ORDER BY matching.page_id

-- name: add_dead_of_batch
INSERT INTO forge_batch_dead (batch_id, job_id)
SELECT v.batch_id, v.job_id
FROM /* rows v: batch_id text, job_id text */
WHERE TRUE
ON CONFLICT DO NOTHING

-- name: forget_dead_of_batch
DELETE FROM forge_batch_dead
WHERE (batch_id, job_id) IN (
    SELECT v.batch_id, v.job_id FROM /* rows v: batch_id text, job_id text */
)

-- name: dead_of_batch
-- Served by the primary key of forge_batch_dead, without those that died with another
-- one, before they could start.
SELECT job_id
FROM forge_batch_dead
INNER JOIN forge_job ON forge_job.id = forge_batch_dead.job_id
WHERE forge_batch_dead.batch_id = :id AND job_id > :after
    AND COALESCE(forge_job.status, '') = 'dead' AND forge_job.start_at IS NULL
ORDER BY job_id
LIMIT :limit

-- name: batches_within
-- Served by forge_batch_within.
SELECT id
FROM forge_batch
WHERE within = :id
ORDER BY id

-- name: batches_to_cancel
-- Served by forge_batch_within: those that end with the one around them.
SELECT id
FROM forge_batch
WHERE within = :id AND completed_at IS NULL AND cancel_requested_at IS NULL
ORDER BY id

-- name: first_batches_within
-- Served by forge_batch_within.
SELECT /* use batch_columns */, COALESCE(running.jobs, 0)
FROM /* use counted_batches */
/* use with_running */
WHERE within = :id
ORDER BY id
LIMIT :limit

-- name: forget_batches
-- Those that have ended and lost their last job. Their links to waiting jobs have ended.
DELETE FROM forge_batch
WHERE completed_at IS NOT NULL
    AND id IN (SELECT v.batch_id FROM /* rows v: batch_id text */)
    AND /* use has_no_member */
RETURNING id, within

-- fragment: has_no_member
NOT EXISTS (SELECT 1 FROM forge_batch AS inner_batch WHERE within = forge_batch.id)
    AND NOT EXISTS (SELECT 1 FROM /* use first_of_ranges */)

-- name: forget_empty_batches
-- Served by forge_batch_created: those that never had a job, or lost all before they ended.
DELETE FROM forge_batch
WHERE id IN (
    SELECT id
    FROM forge_batch
    WHERE created_at <= :now - :age_us AND completed_at <= :now - :age_us
        AND /* use has_no_member */
    ORDER BY created_at
    LIMIT :limit
)
RETURNING id

-- name: open_batches_to_tend
-- Served by forge_batch_open: those that a worker goes on with.
SELECT created_at, id, is_sealed
FROM forge_batch
WHERE (created_at, id) > (:at, :after) AND /* use to_tend */
ORDER BY created_at, id
LIMIT :limit

-- name: stale_batches
-- Served by forge_batch_open: open batches of which no job runs, the oldest first.
SELECT created_at, id, name, total
FROM forge_batch
WHERE completed_at IS NULL AND created_at > :since_us
    AND last_added_at <= :now - :age_us AND total <= :largest
    AND id NOT IN (SELECT member.batch_id FROM /* use running_members */)
ORDER BY created_at
LIMIT :limit

-- name: batch_against_rows
-- The counts of a batch and those of its rows, of one moment, and whether it is sealed.
SELECT
    b.total, b.done, b.dead, b.removed, member.jobs, member.done, member.dead,
    b.is_sealed
FROM /* use counted_batches */
CROSS JOIN (
    SELECT
        COUNT(*) AS jobs, SUM(CASE WHEN state = 'done' THEN 1 END) AS done,
        SUM(CASE WHEN state = 'dead' THEN 1 END) AS dead
    FROM (
        SELECT job.status AS state
        FROM forge_batch_range AS r
        CROSS JOIN forge_job AS job
        WHERE r.batch_id = :id AND job.id >= r.first_id AND job.id <= r.last_id
            AND COALESCE(job.batch_id, '') = r.batch_id
        UNION ALL
        SELECT
            CASE
                WHEN completed_at IS NULL THEN 'in_progress'
                WHEN dead > 0 THEN 'dead'
                ELSE 'done'
            END
        FROM forge_batch
        WHERE within = :id
    ) AS either
) AS member
WHERE b.id = :id

-- name: batch_overview
-- How many are open, and how many jobs wait for others. Served by forge_batch_open and by
-- forge_job_deferred, in which waiting jobs stand last of their queue.
SELECT
    (SELECT COUNT(*) FROM forge_batch WHERE completed_at IS NULL),
    (
        SELECT COUNT(*)
        FROM (SELECT DISTINCT queue_name FROM forge_job_count) AS queue
        CROSS JOIN forge_job
        WHERE forge_job.deferred AND forge_job.queue_name = queue.queue_name
            AND forge_job.scheduled_at = :end_of_time
    )

-- name: add_few_ranges
INSERT INTO forge_batch_range (batch_id, first_id, last_id)
SELECT v.batch_id, v.first_id, v.last_id
FROM /* rows v: batch_id text, first_id text, last_id text */
