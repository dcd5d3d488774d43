-- fragment: open_transactions
-- SQLite cannot tell; its readers only delay checkpoints.
SELECT 0.0 AS age_s, '' AS holder, '' AS application
WHERE 1 = 0
