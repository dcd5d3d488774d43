-- fragment: job_of_slot
-- OFFSET keeps the slots in front.
LATERAL (SELECT * FROM forge_job WHERE id = s.current_job OFFSET 0)
