-- name: database_health
-- Of the whole server, as its limit is.
SELECT
    COUNT(*) FILTER (WHERE state = 'active' AND pid <> pg_backend_pid()),
    COUNT(*) FILTER (WHERE state <> 'active'),
    current_setting('max_connections')::bigint,
    pg_database_size(current_database())
FROM pg_stat_activity
WHERE backend_type = 'client backend'
