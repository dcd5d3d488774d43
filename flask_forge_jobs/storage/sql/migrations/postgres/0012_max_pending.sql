-- Most jobs that may wait for a producer to add more; NULL is no bound.
ALTER TABLE forge_queue ADD COLUMN max_pending INTEGER;

-- Everything in one round trip and from one snapshot; arrays of arrays.
CREATE OR REPLACE FUNCTION forge_snapshot(silent_us BIGINT)
RETURNS TABLE (queues TEXT, counts TEXT, waiting TEXT, processes TEXT)
LANGUAGE plpgsql STABLE
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    now_us CONSTANT BIGINT := extract(epoch FROM statement_timestamp()) * 1000000;
BEGIN
    SELECT json_agg(
        json_build_array(
            q.name, q.max_workers, q.paused, q.retain_done_for_days,
            q.retain_dead_for_days, q.backoff_enabled, q.backoff_base_seconds,
            q.backoff_max_seconds, q.throttle_attempts, q.throttled_until,
            q.updated_at, q.max_pending
        )
        ORDER BY q.name
    )
    INTO queues
    FROM forge_queue AS q;
    SELECT json_agg(json_build_array(c.queue_name, c.status, c.deferred, c.jobs))
    INTO counts
    FROM (
        SELECT queue_name, status, deferred, SUM(jobs) AS jobs
        FROM forge_job_count
        GROUP BY queue_name, status, deferred
        HAVING SUM(jobs) > 0
    ) AS c;
    SELECT json_agg(json_build_array(w.queue_name, w.overdue, w.waited_s))
    INTO waiting
    FROM forge_waiting() AS w;
    SELECT json_agg(
        json_build_array(
            p.process_id, p.queue_name, p.host_id, p.started_at, p.heartbeat_at,
            p.current_job
        )
        ORDER BY p.queue_name, p.process_id
    )
    INTO processes
    FROM forge_process AS p
    WHERE p.heartbeat_at >= now_us - silent_us;
    RETURN NEXT;
END
$$;
