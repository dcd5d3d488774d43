-- Pages of jobs, and counts. A page continues after (:at, :id).

-- fragment: matches
/* use of_queues */
    AND /* use kind_and_age */
    AND (
        :any_status
        OR status IN (SELECT v.name FROM /* rows v: name text = :statuses */)
        OR (:or_scheduled AND status = 'pending' AND scheduled_at > :now)
    )
    AND (:any_payload OR /* use payload_shows */)
    AND (:any_error OR /* use error_shows */)
    AND (
        :any_key
        OR dedupe_key IN (:dedupe_key, :dedupe_key || :own_mark || queue_name)
    )
    AND (
        :any_slot
        OR worker_id = :slot_id
        OR (worker_id, id) IN (
            SELECT slot.worker_id, slot.current_job
            FROM forge_slot AS slot
            WHERE slot.slot_id = :slot_id
        )
    )
    AND (:any_schedule OR schedule_name = :schedule_name)
    AND (:any_attempts OR attempts >= :min_attempts)
    AND (
        :any_ending
        OR (status = 'dead' AND (cancel_requested_at IS NOT NULL) = :was_cancelled)
    )
    AND (
        :any_signature
        OR (signature = :signature AND status IN (/* use unsuccessful */))
    )
    AND (:any_batch OR forge_job.batch_id = :batch_id)
    AND (NOT :only_waiting OR (status = 'pending' AND start_at IS NOT NULL))

-- fragment: of_queues
(:any_queue OR queue_name IN (SELECT v.name FROM /* rows v: name text = :queues */))

-- fragment: of_kinds
(:any_kind OR kind IN (SELECT v.name FROM /* rows v: name text = :kinds */))

-- fragment: kind_and_age
/* use of_kinds */
    AND (:any_time OR (enqueued_at >= :from_at AND enqueued_at <= :to_at))

-- fragment: filtered_counts
/* use counts_of_some */
    AND /* use of_kinds */
    AND (:any_state OR status IN (SELECT v.name FROM /* rows v: name text = :statuses */))

-- fragment: counts_of_some
-- The queues are looked up, so that SQLite reads no count of others.
queue_name IN (
    SELECT v.name FROM /* rows v: name text = :queues */
    UNION ALL
    SELECT queue_name FROM forge_job_count WHERE :any_queue
)

-- fragment: filtered_combinations
-- Queue, kind and status of jobs. Thousands of them cost less here than if they were read
-- and passed back.
SELECT queue_name, kind, status, MAX(newest_at) AS newest_at, SUM(jobs) AS jobs
FROM forge_job_count
WHERE /* use filtered_counts */
GROUP BY queue_name, kind, status
HAVING SUM(jobs) > 0

-- fragment: payload_shows
-- The pattern is cheap, and exact for payloads without escapes. LIKE ignores ASCII case.
(
    payload LIKE :payload_pattern ESCAPE '\'
    AND (INSTR(payload, '\u') = 0 OR forge_finds(payload, :payload_expression))
)

-- fragment: error_shows
last_error LIKE :error_pattern ESCAPE '\'

-- fragment: sort_key
CASE :sort
    WHEN 'scheduled_at' THEN scheduled_at
    WHEN 'completed_at' THEN completed_at
    WHEN 'priority' THEN priority
    WHEN 'attempts' THEN attempts
    ELSE enqueued_at
END

-- fragment: next_by_age (both ways)
enqueued_at >= :edge AND (enqueued_at, id) < (:at, :id)
    AND /* use matches */
ORDER BY enqueued_at DESC, id DESC
LIMIT :limit

-- name: listed (both ways)
-- Served by forge_job_list, without other conditions by the index alone: jobs of one
-- queue, kind and status by age.
SELECT enqueued_at, id
FROM forge_job
WHERE queue_name = :queue_name AND kind = :kind AND status = :status
    AND /* use next_by_age_desc */

-- name: listed_together (both ways)
-- The same for many combinations at once, without other conditions.
SELECT c.of_queue, c.of_kind, c.of_status, job.enqueued_at, job.id
FROM /* rows c: of_queue text, of_kind text, of_status text */
CROSS JOIN LATERAL (
    SELECT enqueued_at, id
    FROM forge_job
    WHERE queue_name = c.of_queue AND kind = c.of_kind AND status = c.of_status
        AND enqueued_at >= :edge AND (enqueued_at, id) < (:at, :id)
    ORDER BY enqueued_at DESC, id DESC
    LIMIT :limit
) AS job

-- name: finished_together (both ways)
-- Served by forge_job_finished: likewise for many queues and states at once.
SELECT c.of_queue, c.of_kind, c.of_status, job.completed_at, job.id
FROM /* rows c: of_queue text, of_kind text, of_status text */
CROSS JOIN LATERAL (
    SELECT completed_at, id
    FROM forge_job
    WHERE queue_name = c.of_queue AND status = c.of_status
        AND completed_at IS NOT NULL
        AND completed_at >= :edge AND (completed_at, id) < (:at, :id)
    ORDER BY completed_at DESC, id DESC
    LIMIT :limit
) AS job

-- name: leading (both ways)
-- Served by forge_job_list: the combinations whose first jobs come first, in order.
SELECT c.queue_name, c.kind, c.status, job.enqueued_at
FROM (/* use filtered_combinations */) AS c
CROSS JOIN LATERAL (
    SELECT enqueued_at, id
    FROM forge_job
    WHERE queue_name = c.queue_name AND kind = c.kind AND status = c.status
        AND enqueued_at >= :edge AND (enqueued_at, id) < (:at, :id)
    ORDER BY enqueued_at DESC, id DESC
    LIMIT 1
) AS job
ORDER BY job.enqueued_at DESC, job.id DESC
LIMIT :limit

-- name: count_newer
-- Served by forge_job_list, from the index alone.
SELECT (
    SELECT COUNT(*)
    FROM forge_job
    WHERE queue_name = v.queue_name AND kind = v.kind AND status = v.status
        AND enqueued_at > :from_at AND enqueued_at <= :to_at
)
FROM /* rows v: queue_name text, kind text, status text */

-- name: listed_finished (both ways)
-- Served by forge_job_finished: jobs of one queue and status by their end.
SELECT completed_at, id
FROM forge_job
WHERE queue_name = :queue_name AND status = :status AND completed_at IS NOT NULL
    AND (completed_at, id) < (:at, :id)
    AND /* use matches */
ORDER BY completed_at DESC, id DESC
LIMIT :limit

-- name: listed_deferred (both ways)
-- Served by forge_job_deferred: pending jobs of one queue by start time. The plus keeps
-- the planner from using the index for :now instead of the page's position.
SELECT scheduled_at, id
FROM forge_job
WHERE deferred AND queue_name = :queue_name AND status = 'pending'
    AND +scheduled_at > :now AND (scheduled_at, id) < (:at, :id)
    AND /* use kind_and_age */
ORDER BY scheduled_at DESC, id DESC
LIMIT :limit OFFSET :offset

-- name: deferred_sorted (both ways)
-- Likewise for many queues, a range of each, sorted together: for deep pages, where a
-- merge would read as much.
SELECT scheduled_at, id
FROM /* rows c: of_queue text */
CROSS JOIN forge_job
WHERE deferred AND queue_name = c.of_queue AND status = 'pending'
    AND scheduled_at > :now AND (scheduled_at, id) < (:at, :id)
    AND /* use kind_and_age */
ORDER BY scheduled_at DESC, id DESC
LIMIT :limit OFFSET :offset

-- name: listed_key (both ways)
-- Served by forge_job_key. With the summaries, which saves a round trip; so the next two.
SELECT enqueued_at, /* use summary_columns */
FROM /* use jobs_of_key */
    AND /* use next_by_age_desc */

-- name: listed_schedule (both ways)
-- Served by forge_job_schedule.
SELECT enqueued_at, /* use summary_columns */
FROM /* use jobs_of_schedule */
    AND /* use next_by_age_desc */

-- name: listed_signature (both ways)
-- Served by forge_job_signature.
SELECT enqueued_at, /* use summary_columns */
FROM /* use jobs_of_signature */
    AND /* use next_by_age_desc */

-- name: listed_batch (both ways)
-- Served by the primary keys of forge_batch_range and forge_job; sorts all of them.
SELECT enqueued_at, /* use summary_columns */
FROM /* use jobs_of_one_batch */
    AND /* use next_by_age_desc */

-- name: listed_waiting (both ways)
-- Served by forge_job_deferred: jobs that wait for others start at the end of time.
SELECT enqueued_at, /* use summary_columns */
FROM /* use jobs_that_wait */
    AND /* use next_by_age_desc */

-- name: listed_few (both ways)
-- Served by forge_job_list: all jobs of some combinations, in any order. With the
-- summaries, as the next one.
WITH page AS MATERIALIZED (
    SELECT /* use sort_key */ AS page_at, id AS page_id
    FROM /* rows c: of_queue text, of_kind text, of_status text */
    CROSS JOIN forge_job
    WHERE queue_name = c.of_queue AND kind = c.of_kind AND status = c.of_status
        AND (/* use sort_key */, id) < (:at, :id)
        AND /* use matches */
    ORDER BY 1 DESC, id DESC
    LIMIT :limit OFFSET :offset
)
/* use jobs_of_page_desc */

-- name: listed_all (both ways)
-- Scans all jobs: for conditions without an index, within the statement time-out.
WITH page AS MATERIALIZED (
    SELECT /* use sort_key */ AS page_at, id AS page_id
    FROM forge_job
    WHERE (/* use sort_key */, id) < (:at, :id)
        AND /* use matches */
    ORDER BY 1 DESC, id DESC
    LIMIT :limit OFFSET :offset
)
/* use jobs_of_page_desc */

-- name: count_inside
-- Served by forge_job_list, a range of each combination, at most :max_rows of each.
SELECT v.status, (
    SELECT COUNT(*)
    FROM (
        SELECT 1 AS one
        FROM forge_job
        WHERE queue_name = v.queue_name AND kind = v.kind AND status = v.status
            AND enqueued_at >= :from_at AND enqueued_at <= :to_at
        LIMIT :max_rows
    ) AS inside
)
FROM /* rows v: queue_name text, kind text, status text */

-- name: counts_inside
-- Served by forge_job_list: likewise by state, at most :end of all together. No index has
-- the age of scheduled jobs: they are counted if :max_scheduled of the queues are enough.
SELECT
    status, COUNT(*),
    (
        SELECT CASE WHEN COALESCE(SUM(jobs), 0) <= :max_scheduled THEN (
            SELECT COUNT(*)
            FROM forge_job
            WHERE deferred AND status = 'pending' AND scheduled_at > :now
                AND /* use of_queues */
                AND /* use kind_and_age */
        ) END
        FROM forge_job_count
        WHERE deferred AND status = 'pending'
            AND /* use of_queues */
    )
FROM (
    SELECT job.status
    FROM (/* use filtered_combinations */) AS c
    CROSS JOIN forge_job AS job
    WHERE c.newest_at >= :from_at
        AND job.queue_name = c.queue_name AND job.kind = c.kind AND job.status = c.status
        AND job.enqueued_at >= :from_at AND job.enqueued_at <= :to_at
    LIMIT :end
) AS inside
GROUP BY status

-- name: count_outside
-- Served by forge_job_list, the two ends of each combination, at most :max_rows of each.
SELECT
    v.status,
    (
        SELECT COUNT(*)
        FROM (
            SELECT 1 AS one
            FROM forge_job
            WHERE queue_name = v.queue_name AND kind = v.kind AND status = v.status
                AND enqueued_at < :from_at
            LIMIT :max_rows
        ) AS before
    ),
    (
        SELECT COUNT(*)
        FROM (
            SELECT 1 AS one
            FROM forge_job
            WHERE queue_name = v.queue_name AND kind = v.kind AND status = v.status
                AND enqueued_at > :to_at
            LIMIT :max_rows
        ) AS after
    )
FROM /* rows v: queue_name text, kind text, status text */

-- name: count_plain
-- Without other conditions than queue, kind and status.
SELECT COALESCE(SUM(jobs), 0)
FROM forge_job_count
WHERE /* use filtered_counts */

-- name: counts_plain
-- The same by queue, state and whether deferred; and the due jobs that no worker has
-- promoted yet, served by forge_job_deferred.
SELECT
    queue_name, status, deferred, jobs,
    CASE WHEN deferred AND status = 'pending' AND jobs > 0 THEN (
        SELECT COUNT(*)
        FROM forge_job
        WHERE deferred AND queue_name = counted.queue_name AND status = 'pending'
            AND scheduled_at <= :now
            AND /* use of_kinds */
    ) ELSE 0 END
FROM (
    SELECT queue_name, status, deferred, SUM(jobs) AS jobs
    FROM forge_job_count
    WHERE /* use filtered_counts */
    GROUP BY queue_name, status, deferred
) AS counted

-- fragment: jobs_of_key
forge_job
WHERE dedupe_key >= :dedupe_key AND dedupe_key < :key_end
    AND dedupe_key IS NOT NULL

-- name: count_key
SELECT COUNT(*)
FROM /* use jobs_of_key */ AND /* use matches */

-- name: counts_key
SELECT /* use number_by_status */
FROM (
    SELECT status, scheduled_at
    FROM /* use jobs_of_key */ AND /* use matches */
    LIMIT :end
) AS matching

-- fragment: jobs_of_schedule
forge_job
WHERE schedule_name = :schedule_name AND schedule_name IS NOT NULL

-- name: count_schedule
SELECT COUNT(*)
FROM /* use jobs_of_schedule */ AND /* use matches */

-- name: first_of_schedule
-- How many jobs a schedule has made, as far as the end. Reads nothing but the index.
SELECT COUNT(*)
FROM (
    SELECT 1 AS one
    FROM /* use jobs_of_schedule */
    ORDER BY enqueued_at, id
    LIMIT :end
) AS made

-- name: counts_schedule
-- In the order of the index, so that PostgreSQL reads no more than that part of it.
SELECT /* use number_by_status */
FROM (
    SELECT status, scheduled_at
    FROM /* use jobs_of_schedule */ AND /* use matches */
    ORDER BY enqueued_at, id
    LIMIT :end
) AS matching

-- fragment: jobs_of_few
/* rows c: of_queue text, of_kind text, of_status text */
CROSS JOIN forge_job
WHERE queue_name = c.of_queue AND kind = c.of_kind AND status = c.of_status
    AND /* use matches */

-- fragment: jobs_of_signature
forge_job
WHERE signature = :signature AND signature IS NOT NULL
    AND status IN (/* use unsuccessful */)

-- name: count_signature
SELECT COUNT(*)
FROM /* use jobs_of_signature */ AND /* use matches */

-- name: counts_signature
SELECT /* use number_by_status */
FROM (
    SELECT status, scheduled_at
    FROM /* use jobs_of_signature */ AND /* use matches */
    LIMIT :end
) AS matching

-- fragment: jobs_of_one_batch
(SELECT first_id, last_id FROM forge_batch_range WHERE batch_id = :batch_id) AS ids
CROSS JOIN forge_job
WHERE forge_job.id >= ids.first_id AND forge_job.id <= ids.last_id
    AND COALESCE(forge_job.batch_id, '') = :batch_id

-- name: count_batch
SELECT COUNT(*)
FROM /* use jobs_of_one_batch */ AND /* use matches */

-- name: counts_batch
SELECT /* use number_by_status */
FROM (
    SELECT status, scheduled_at
    FROM /* use jobs_of_one_batch */ AND /* use matches */
    LIMIT :end
) AS matching

-- fragment: jobs_that_wait
forge_job
WHERE deferred AND status = 'pending' AND scheduled_at = :end_of_time
    AND queue_name IN (
        SELECT queue_name FROM forge_job_count WHERE deferred AND status = 'pending'
    )

-- name: count_waiting
SELECT COUNT(*)
FROM /* use jobs_that_wait */ AND /* use matches */

-- name: counts_waiting
SELECT /* use number_by_status */
FROM (
    SELECT status, scheduled_at
    FROM /* use jobs_that_wait */ AND /* use matches */
    LIMIT :end
) AS matching

-- name: count_few
SELECT COUNT(*)
FROM /* use jobs_of_few */

-- name: counts_few
SELECT /* use number_by_status */
FROM (SELECT status, scheduled_at FROM /* use jobs_of_few */ LIMIT :end) AS matching

-- name: count_all
SELECT COUNT(*)
FROM forge_job
WHERE /* use matches */

-- name: counts_all
SELECT /* use number_by_status */
FROM (SELECT status, scheduled_at FROM forge_job WHERE /* use matches */ LIMIT :end) AS matching

-- name: count_scheduled
-- Served by forge_job_deferred: pending jobs that start later.
SELECT COUNT(*)
FROM /* rows c: of_queue text */
CROSS JOIN forge_job
WHERE deferred AND queue_name = c.of_queue AND status = 'pending'
    AND scheduled_at > :now AND /* use kind_and_age */

-- name: count_all_scheduled
-- The same of all queues that may have some: deferred jobs without those that are due, which
-- are served by forge_job_deferred.
SELECT COALESCE(SUM(jobs), 0) - (
    SELECT COUNT(*)
    FROM (
        SELECT DISTINCT queue_name
        FROM forge_job_count
        WHERE deferred AND /* use filtered_counts */
    ) AS c
    CROSS JOIN forge_job
    WHERE forge_job.deferred AND forge_job.queue_name = c.queue_name
        AND forge_job.status = 'pending' AND forge_job.scheduled_at <= :now
        AND (
            :any_kind
            OR forge_job.kind IN (SELECT v.name FROM /* rows v: name text = :kinds */)
        )
)
FROM forge_job_count
WHERE deferred AND /* use filtered_counts */
