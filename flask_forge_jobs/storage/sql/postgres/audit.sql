-- fragment: entry_of_change
-- Follows a statement that ends with /* noted */ and stores the entry of the request with
-- it, unless it has changed nothing.
, entry AS (
    INSERT INTO forge_audit (
        at, actor, action, target, address, request_id, status, changed, arguments,
        requests
    )
    SELECT
        :now, :actor, :action, :target, :address, :request_id, :http_status, :changed,
        :arguments, :requests
    WHERE EXISTS (SELECT 1 FROM change)
        AND (NOT :is_repeated OR NOT EXISTS (/* use equal_entry */))
)
SELECT *
FROM change

-- fragment: first_try
-- The entry of a try whose answer was lost, if this one finds that its change is made.
SELECT target, status, changed
FROM forge_audit
WHERE :is_repeated AND NOT EXISTS (SELECT 1 FROM made) AND /* use of_same_request */
LIMIT 1

-- fragment: asked_in_first_try
-- As a statement that tells whether a job was only asked: a row without a queue. The entry
-- of a batch, which has one status, tells nothing of that; most batches ask none.
SELECT status = :asked_status AND :asked_status <> :http_status, NULL, NULL, NULL, NULL
FROM (/* use first_try */) AS entry
WHERE changed = :number AND status IN (:http_status, :asked_status)

-- fragment: named_in_first_try
-- As a statement that returns a name for each row that it has changed.
SELECT COALESCE(target, '')
FROM (/* use first_try */) AS entry
CROSS JOIN generate_series(1, changed)
WHERE status = :http_status
