"""Fills a database with a million jobs, by SQL and with the schema's triggers on."""

from __future__ import annotations

from tests.support.sql import Sql

SECOND_US = 1_000_000
DAY_S = 86_400
QUEUES = 10
KINDS = 20
DUE_PERCENT = 3
# SQLite's own counter is fast, but one statement of a million rows fills the WAL.
ROWS_A_STATEMENT = 100_000
# Enqueued evenly over this time up to now.
SPAN_S = 30 * DAY_S

# Of a hundred jobs: 90 done, 5 deferred, 3 due, 1 that waits for a retry, 1 dead.
_STATUS = """
    CASE
        WHEN n % 100 < 90 THEN 'done'
        WHEN n % 100 < 98 THEN 'pending'
        WHEN n % 100 = 98 THEN 'failed'
        ELSE 'dead'
    END
"""
_IS_DEFERRED = "(n % 100 BETWEEN 90 AND 94 OR n % 100 = 98)"
# Each kind has a queue of its own, as a router gives it; or every kind is in every
# queue, mixed by a multiplication.
_ROUTED_KIND = "(n / 100) % {kinds}"
_CROSSED_KIND = "(n * 7919 / 97) % {kinds}"

_FILL = f"""
    INSERT INTO forge_job (
        id, queue_name, kind, payload, status, priority, enqueued_at, scheduled_at,
        deferred, started_at, completed_at, attempts, max_attempts, last_error,
        dedupe_key, schedule_name
    )
    {{series}}
    SELECT
        'FILLED' || CAST(1000000000 + n AS TEXT),
        'queue-' || CAST((n / 100) % {{queues}} AS TEXT),
        'kind-' || CAST({{kind}} AS TEXT),
        '{{{{"account_id":' || CAST(n AS TEXT) || ',"note":"a payload of usual length, '
            || 'with a sentence or two in it"}}}}',
        {_STATUS},
        0,
        {{start}} + n * {{step}},
        CASE
            WHEN {_IS_DEFERRED} THEN {{now}} + {DAY_S * SECOND_US} + n
            ELSE {{start}} + n * {{step}}
        END,
        {_IS_DEFERRED},
        CASE WHEN n % 100 < 90 OR n % 100 >= 98 THEN {{start}} + n * {{step}} END,
        CASE WHEN n % 100 < 90 OR n % 100 = 99 THEN {{start}} + n * {{step}} END,
        CASE WHEN n % 100 < 90 OR n % 100 >= 98 THEN 1 ELSE 0 END,
        5,
        CASE WHEN n % 100 >= 98 THEN 'an error of usual length' END,
        CASE WHEN n % 20 = 0 THEN 'key-' || CAST(n AS TEXT) END,
        CASE WHEN n % 12 = 0 THEN 'nightly' END
    FROM numbers
"""


def fill(
    sql: Sql,
    backend: str,
    rows: int,
    *,
    is_crossed: bool = False,
    queues: int = QUEUES,
    kinds: int = KINDS,
) -> None:
    """Insert so many jobs into an empty database and refresh the planner's knowledge.

    Args:
        sql: The way into the database.
        backend: ``sqlite`` or ``postgres``.
        rows: How many, a multiple of 100.
        is_crossed: Put jobs of every kind into every queue; otherwise a kind stays in
            one queue.
        queues: How many queues.
        kinds: How many kinds, a multiple of the queues.
    """
    now_us = sql.now_us()
    for name in range(queues):
        sql.run(
            "INSERT INTO forge_queue (name, max_workers, updated_at) VALUES (?, 64, ?)",
            f"queue-{name}",
            now_us,
        )
    step_us = SPAN_S * SECOND_US // rows
    start_us = now_us - step_us * rows
    for first in range(0, rows, ROWS_A_STATEMENT):
        last = min(first + ROWS_A_STATEMENT, rows) - 1
        statement = _FILL.format(
            series=_series(first, last),
            queues=queues,
            kind=(_CROSSED_KIND if is_crossed else _ROUTED_KIND).format(kinds=kinds),
            start=start_us,
            step=step_us,
            now=now_us,
        )
        sql.run(statement)
    _refresh(sql, backend)


def _series(first: int, last: int) -> str:
    return (
        f"WITH RECURSIVE numbers (n) AS (SELECT CAST({first} AS BIGINT) UNION ALL "
        f"SELECT n + 1 FROM numbers WHERE n < {last})"
    )


def _refresh(sql: Sql, backend: str) -> None:
    if backend == "sqlite":
        sql.run("ANALYZE")
        sql.run("PRAGMA wal_checkpoint(TRUNCATE)")
    else:
        # What autovacuum does within minutes of such a load.
        sql.run("VACUUM ANALYZE forge_job")
        sql.run("VACUUM ANALYZE forge_job_count")
