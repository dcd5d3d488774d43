-- Bulk actions that run outside of their request.

-- name: add_bulk_run
INSERT INTO forge_bulk_run (
    id, action, jobs, run_at, matched, actor, address, request_id, arguments, created_at,
    holder, expires_at
)
VALUES (
    :id, :action, :jobs, :run_at, :matched, :actor, :address, :request_id, :arguments,
    :now, :holder, :now + :lease_us
)
RETURNING id

-- fragment: has_lapsed
-- As with leases, none lasts longer than a new one: the clock has stepped back.
(expires_at <= :now OR expires_at > :now + :lease_us)

-- fragment: bulk_run_columns
-- The fields of BulkRun, those of its author in place of that.
action, jobs, matched, actor, address, request_id, arguments, run_at, id, state, changed,
skipped, place, error, created_at, ended_at,
state = 'running' AND /* use has_lapsed */ AS is_lapsed

-- name: bulk_run
SELECT /* use bulk_run_columns */
FROM forge_bulk_run
WHERE id = :id

-- name: bulk_runs
SELECT /* use bulk_run_columns */
FROM forge_bulk_run
ORDER BY id DESC
LIMIT :limit

-- name: open_bulk_runs
-- Served by forge_bulk_run_open.
SELECT COALESCE(SUM(CASE WHEN actor = :actor THEN 1 ELSE 0 END), 0), COUNT(*)
FROM forge_bulk_run
WHERE state = 'running'

-- name: lapsed_bulk_runs
-- Served by forge_bulk_run_open.
SELECT id
FROM forge_bulk_run
WHERE state = 'running' AND /* use has_lapsed */
ORDER BY expires_at
LIMIT :limit

-- name: take_bulk_run
-- One process can win.
UPDATE forge_bulk_run
SET holder = :holder, expires_at = :now + :lease_us
WHERE id = :id AND state = 'running'
    AND (holder = :holder OR /* use has_lapsed */)
RETURNING id

-- name: advance_bulk_run
-- Nothing if the run was stopped, or taken over by another process.
UPDATE forge_bulk_run
SET
    changed = changed + :changed,
    skipped = skipped + :skipped,
    place = COALESCE(:place, place),
    expires_at = :now + :lease_us
WHERE id = :id AND state = 'running' AND holder = :holder
RETURNING id

-- name: end_bulk_run
UPDATE forge_bulk_run
SET state = :state, error = :error, ended_at = :now
WHERE id = :id AND state = 'running' AND holder = :holder
RETURNING id

-- name: stop_bulk_run
UPDATE forge_bulk_run
SET state = 'stopped', ended_at = :now
WHERE id = :id AND state = 'running'
RETURNING id
/* noted: named */

-- name: prune_bulk_runs
DELETE FROM forge_bulk_run
WHERE id IN (
    SELECT id FROM forge_bulk_run WHERE ended_at < :now - :kept_us ORDER BY id LIMIT 100
)
