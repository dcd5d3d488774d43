-- name: server_state
SELECT
    current_setting('fsync') AS fsync,
    current_setting('full_page_writes') AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('autovacuum') AS autovacuum,
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now_us

-- name: table_state
SELECT
    c.relname::text AS name,
    COALESCE(s.n_live_tup, 0)::bigint AS live,
    COALESCE(s.n_dead_tup, 0)::bigint AS dead,
    COALESCE('autovacuum_enabled=false' = ANY (c.reloptions), FALSE) AS is_unattended
FROM pg_class AS c
LEFT JOIN pg_stat_all_tables AS s ON s.relid = c.oid
WHERE c.relname LIKE E'forge\\_%' AND c.relkind = 'r'
    AND c.relnamespace = (
        SELECT relnamespace FROM pg_class WHERE oid = 'forge_job'::regclass
    )
ORDER BY c.relname

-- name: log_position
-- Up to where the write-ahead log is on the disk of a primary, or replayed by a standby:
-- bytes since its beginning. NULL where a service keeps it to itself.
SELECT
    pg_is_in_recovery()::int,
    (
        CASE
            WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
            ELSE pg_current_wal_flush_lsn()
        END - '0/0'::pg_lsn
    )::bigint

-- name: shared_identity
-- The same on a primary and on its standbys.
SELECT
    (SELECT system_identifier::text FROM pg_control_system()),
    (SELECT oid::bigint FROM pg_database WHERE datname = current_database()),
    to_regclass('forge_job')::oid::bigint
