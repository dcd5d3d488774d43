-- fragment: entry_of_change
-- Stores the entry of a request with its change, unless that has made no rows.
, entry AS (
    INSERT INTO forge_audit (/* use entry_columns */)
    SELECT /* use entry_values */
    WHERE EXISTS (SELECT 1 FROM made)
        AND (NOT :is_repeated OR NOT EXISTS (/* use equal_entry */))
)

-- fragment: answer_of_plain_change
, change AS (
    SELECT *
    FROM made
)
/* rows of change */

-- fragment: answer_of_asked_change
-- The column tells whether a job was only asked. A first try: a row without a queue. The
-- entry of a batch, which has one status, tells nothing of that; most batches ask none.
, change AS (
    SELECT *
    FROM made
    UNION ALL
    SELECT
        status = :asked_status AND :asked_status <> :http_status, NULL, NULL, NULL, NULL
    FROM (/* use first_try */) AS entry
    WHERE changed = :number AND status IN (:http_status, :asked_status)
)
/* rows of change */

-- fragment: answer_of_named_change
-- A first try: the name for each row that it has changed.
, change AS (
    SELECT *
    FROM made
    UNION ALL
    SELECT COALESCE(target, '')
    FROM (/* use first_try */) AS entry
    CROSS JOIN generate_series(1, changed)
    WHERE status = :http_status
)
/* rows of change */

-- fragment: first_try
-- The entry of a try whose answer was lost, if this one finds that its change is made.
SELECT target, status, changed
FROM forge_audit
WHERE :is_repeated AND NOT EXISTS (SELECT 1 FROM made) AND /* use of_same_request */
LIMIT 1
