-- fragment: counts_of_some
-- Without an index, a look-up of the queues would only cost more.
/* use of_queues */

-- fragment: payload_shows
-- The pattern is cheap, and exact for payloads without escapes. In other payloads each
-- visible backslash that could begin an escape is replaced first. Only E'' has backslashes
-- whatever standard_conforming_strings says; LIKE takes one for its escape by itself.
(
    LOWER(payload COLLATE "C") LIKE :payload_pattern
    AND (
        STRPOS(payload, E'\\u') = 0
        OR REPLACE(
            REPLACE(
                REPLACE(payload COLLATE "C", E'\\\\', CHR(1) || CHR(1)),
                E'\\u000', CHR(1) || 'u000'
            ),
            E'\\u001', CHR(1) || 'u001'
        ) ~ :payload_expression
    )
)

-- fragment: error_shows
-- The collation limits LOWER to ASCII, as on SQLite.
LOWER(last_error COLLATE "C") LIKE :error_pattern
