-- fragment: trends
-- A range of the primary key for each signature; a join by hash would read all buckets.
SELECT
    'bucket', v.name, trend.of_queue, trend.of_kind, 0, 0, 0, 0, 0, NULL, trend.counts
FROM /* rows v: name text */
CROSS JOIN LATERAL (
    SELECT
        bucket.of_queue, bucket.of_kind,
        json_object_agg(bucket.start, bucket.failures)::text AS counts
    FROM (
        SELECT
            bucket_start AS start, SUM(failures)::bigint AS failures,
            CASE WHEN :by_kind THEN queue_name ELSE '' END AS of_queue,
            CASE WHEN :by_kind THEN kind ELSE '' END AS of_kind
        FROM forge_error_bucket
        WHERE width_s = :width_s AND signature = v.name
            AND bucket_start >= :since
            AND /* use error_scope */
        GROUP BY bucket_start, of_queue, of_kind
    ) AS bucket
    GROUP BY bucket.of_queue, bucket.of_kind
) AS trend

-- fragment: totals_in_range
-- All buckets of a range at once: a look-up for each total would take twice as long.
SELECT
    signature, CASE WHEN :is_month THEN failures ELSE 0 END AS failures, first_at,
    last_at
FROM forge_error
WHERE /* use error_scope */
UNION ALL
SELECT signature, SUM(failures)::bigint, NULL, NULL
FROM forge_error_bucket
WHERE NOT :is_month
    AND width_s = :width_s AND bucket_start >= /* use range_start */
    AND /* use error_scope */
GROUP BY signature
