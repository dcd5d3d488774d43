-- What PostgreSQL must say in its own way.

-- name: take_seat
SELECT is_seated
FROM forge_take_seat(:job_id, :worker_id, :run, :seat, :most) AS is_seated
WHERE is_seated IS NOT NULL
