-- What PostgreSQL must say in its own way.

-- fragment: error_text
-- Like SQLite's, LOWER knows the letters of ASCII only, whatever the locale.
LOWER(last_error COLLATE "C")
