-- fragment: job_of_slot
-- SQLite keeps the order of a CROSS JOIN.
forge_job
