-- name: oldest_snapshot
-- What it can see, or has written, keeps the server from cleaning up what has ended since.
-- Of the sessions of other roles this shows to members of pg_read_all_stats only.
SELECT age_s, holder
FROM (
    SELECT
        extract(epoch FROM clock_timestamp() - xact_start)::double precision AS age_s,
        'session ' || pid AS holder
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND backend_type = 'client backend'
        AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
    UNION ALL
    SELECT
        extract(epoch FROM clock_timestamp() - prepared)::double precision,
        'prepared transaction ' || gid
    FROM pg_prepared_xacts
    WHERE database = current_database()
) AS held
ORDER BY age_s DESC
LIMIT 1

-- name: replace_version_check
-- What everything that stores asks, with the newest version that its code knows. The
-- oldest one that may is part of the text, which takes a fifth of the time of looking it
-- up, and which no snapshot of an older transaction hides.
CREATE OR REPLACE FUNCTION forge_check_version(known INTEGER)
RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
    IF known < :oldest_reader THEN
        RAISE EXCEPTION 'this schema needs code that knows version :oldest_reader'
        USING ERRCODE = 'FJ001', DETAIL = ':version :oldest_reader ' || known;
    END IF;
END
$$
