-- Functions of the schema, because these plans take longer to make than to run.

-- name: overdue
SELECT queue_name, jobs
FROM forge_overdue()

-- name: oldest_due
SELECT name, waited_us
FROM forge_oldest_due()
