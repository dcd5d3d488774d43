-- Jobs that wait for others: functions of the schema, because to plan these statements
-- takes several times as long as to run them.

-- name: end_links
SELECT forge_end_links(:rows)

-- name: waiting_children
SELECT *
FROM forge_waiting_children(:rows)

-- name: free_children
SELECT *
FROM forge_free_children(:rows)
