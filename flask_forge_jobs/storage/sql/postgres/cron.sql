-- name: lock_schedule
-- And the time behind the wait for the lock, to which that of the statement may be long ago.
SELECT locked.*, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
FROM (
    SELECT /* use schedule_columns */
    FROM forge_cron
    WHERE name = :name
    FOR UPDATE
) AS locked
