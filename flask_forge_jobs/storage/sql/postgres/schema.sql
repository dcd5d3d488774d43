-- fragment: open_transactions
-- The server cannot clean up rows that these may still see. Shows sessions of other roles
-- only to members of pg_read_all_stats. No texts of statements, which may hold secrets.
SELECT
    extract(epoch FROM clock_timestamp() - xact_start)::double precision AS age_s,
    'session ' || pid AS holder,
    COALESCE(application_name, '') AS application
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND backend_type = 'client backend'
    AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
UNION ALL
SELECT
    extract(epoch FROM clock_timestamp() - prepared)::double precision,
    'prepared transaction ' || gid,
    ''
FROM pg_prepared_xacts
WHERE database = current_database()

-- name: replace_version_check
-- Every write calls this with the newest version that its code knows. The oldest allowed
-- version is part of the function: that takes a fifth of the time of a look-up, and no
-- snapshot of an older transaction hides it.
CREATE OR REPLACE FUNCTION forge_check_version(known INTEGER)
RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
    IF known < :oldest_reader THEN
        RAISE EXCEPTION 'this schema needs code that knows version :oldest_reader'
        USING ERRCODE = 'FJ001', DETAIL = ':version :oldest_reader ' || known;
    END IF;
END
$$
