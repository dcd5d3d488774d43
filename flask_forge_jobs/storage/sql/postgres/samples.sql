-- name: database_health
-- Counts connections of the whole server, as max_connections does.
SELECT
    COUNT(*) FILTER (WHERE state = 'active' AND pid <> pg_backend_pid()),
    COUNT(*) FILTER (WHERE state <> 'active'),
    current_setting('max_connections')::bigint,
    pg_database_size(current_database())
FROM pg_stat_activity
WHERE backend_type = 'client backend'
