-- The audit trail: append-only, except that old rows are deleted.

-- fragment: entry_columns
at, actor, action, target, address, request_id, status, changed, arguments, requests

-- fragment: entry_values
:now, :actor, :action, :target, :address, :request_id, :http_status, :changed,
:arguments, :requests

-- name: append_audit
INSERT INTO forge_audit (/* use entry_columns */)
VALUES (/* use entry_values */)
RETURNING id

-- name: append_audit_once
-- For a retry after a commit with an unknown result. Served by forge_audit_actor.
INSERT INTO forge_audit (/* use entry_columns */)
SELECT /* use entry_values */
WHERE NOT EXISTS (/* use equal_entry */)
RETURNING id

-- name: stored_entry
-- How long ago, in microseconds; NULL if there is none. Served by forge_audit_actor.
SELECT :now - MAX(at)
FROM forge_audit
WHERE /* use is_equal */

-- fragment: equal_entry
SELECT 1
FROM forge_audit
WHERE /* use is_equal */

-- fragment: is_equal
/* use of_same_request */ AND status = :http_status AND changed = :changed

-- fragment: of_same_request
actor = :actor AND at >= :now - 60000000
    AND action = :action AND COALESCE(target, '') = COALESCE(:target, '')
    AND request_id = :request_id
    AND arguments = :arguments AND requests = :requests

-- fragment: audit_columns
id, /* use entry_columns */

-- name: audit_page
-- Served by forge_audit_time.
SELECT /* use audit_columns */
FROM forge_audit
WHERE at >= :from_at AND at <= :to_at AND (at, id) < (:before_at, :before_id)
    AND (:any_action OR action = :action)
ORDER BY at DESC, id DESC
LIMIT :limit

-- name: audit_page_of_actor
-- Served by forge_audit_actor.
SELECT /* use audit_columns */
FROM forge_audit
WHERE actor = :actor
    AND at >= :from_at AND at <= :to_at AND (at, id) < (:before_at, :before_id)
    AND (:any_action OR action = :action)
ORDER BY at DESC, id DESC
LIMIT :limit

-- name: audit_page_of_target
-- Served by forge_audit_target.
SELECT /* use audit_columns */
FROM forge_audit
WHERE target = :target
    AND at >= :from_at AND at <= :to_at AND (at, id) < (:before_at, :before_id)
    AND (:any_action OR action = :action)
    AND (:any_actor OR actor = :actor)
ORDER BY at DESC, id DESC
LIMIT :limit

-- name: delete_old_audit
-- Served by forge_audit_time.
DELETE FROM forge_audit
WHERE id IN (
    SELECT id
    FROM forge_audit
    WHERE at < :now - :age_us
    ORDER BY at, id
    LIMIT :limit
)
