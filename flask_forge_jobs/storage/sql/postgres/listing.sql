-- fragment: counts_of_some
-- Without an index, a look-up of the queues would only cost more.
/* use of_queues */

-- fragment: payload_shows
-- The pattern is cheap, and exact for payloads without escapes. In other payloads each
-- visible backslash that could begin an escape is replaced first.
(
    LOWER(payload COLLATE "C") LIKE :payload_pattern ESCAPE '\'
    AND (
        STRPOS(payload, '\u') = 0
        OR REPLACE(
            REPLACE(
                REPLACE(payload COLLATE "C", '\\', CHR(1) || CHR(1)),
                '\u000', CHR(1) || 'u000'
            ),
            '\u001', CHR(1) || 'u001'
        ) ~ :payload_expression
    )
)

-- fragment: error_text
-- The collation limits LOWER to ASCII, as on SQLite.
LOWER(last_error COLLATE "C")
