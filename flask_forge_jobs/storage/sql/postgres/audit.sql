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
