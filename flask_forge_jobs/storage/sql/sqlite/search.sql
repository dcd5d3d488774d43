-- fragment: jobs_of_each
-- Served by forge_job_list, which has the rowid: the newest jobs of each combination.
/* rows c: of_queue text, of_kind text, of_status text */
CROSS JOIN forge_job
WHERE forge_job.rowid IN (
        SELECT own.rowid
        FROM forge_job AS own
        WHERE own.queue_name = c.of_queue AND own.kind = c.of_kind
            AND own.status = c.of_status
            AND own.enqueued_at >= :from_at AND own.enqueued_at <= :to_at
        ORDER BY own.enqueued_at DESC
        LIMIT :each
    )
    AND /* use matches */
