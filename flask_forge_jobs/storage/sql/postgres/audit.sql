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

-- fragment: change_of_first_try
-- Follows that if the change tells whether a job was only asked: a row without a queue for
-- jobs that are as a try whose answer was lost has left them.
UNION ALL
(
    SELECT status = :asked_status, NULL, NULL, NULL, NULL
    FROM forge_audit
    WHERE :is_repeated AND NOT EXISTS (SELECT 1 FROM change)
        AND /* use of_same_request */ AND changed = :number
        AND status IN (:http_status, :asked_status)
    LIMIT 1
)
