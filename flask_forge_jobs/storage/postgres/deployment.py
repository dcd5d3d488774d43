"""Faults in how a PostgreSQL server is set up for a queue.

The figures of dead rows are the server's own estimates (``pg_stat_all_tables``).
"""

from __future__ import annotations

from collections.abc import Iterator

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.model.durations import duration
from flask_forge_jobs.model.findings import Finding
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.sentences import count
from flask_forge_jobs.storage.database import Database, Row

# Leases and starts are compared with the clock of the database.
MAX_SKEW_S = 2.0
# From here on, and when more rows are dead than alive, claims slow down.
MANY_DEAD_ROWS = 100_000


def server_findings(database: Database, clock: Clock) -> Iterator[Finding]:
    """Yield the findings on the server of a database; ``clock`` is of this host."""
    before_us = clock.now_us()
    (server,), tables = database.read(
        lambda tx: (tx.all("server_state"), tx.all("table_state"))
    )
    # The server read its clock about halfway.
    skew_us = server[-1] - (before_us + clock.now_us()) // 2
    yield from findings_of(server, tables, skew_us / SECOND_US)


def findings_of(server: Row, tables: list[Row], skew_s: float) -> Iterator[Finding]:
    """Yield the faults of a server.

    Args:
        server: A row of ``server_state``.
        tables: Rows of ``table_state``.
        skew_s: How far the server's clock is ahead of this host's, in seconds.
    """
    fsync, full_pages, commit, autovacuum, _ = server
    for name, value in (("fsync", fsync), ("full_page_writes", full_pages)):
        if value == "off":
            yield Finding(
                "not_durable",
                f"The server has {name} off, so a crash of its host loses or damages "
                "jobs.",
                f"set {name} = on in postgresql.conf and reload",
            )
    if commit == "off":
        yield Finding(
            "not_durable",
            "synchronous_commit is off, so a crash of the server loses jobs that it "
            "has acknowledged.",
            "set synchronous_commit = on, at least for the role of the application",
        )
    if abs(skew_s) > MAX_SKEW_S:
        side = "ahead of" if skew_s > 0 else "behind"
        yield Finding(
            "clock_skew",
            f"The clock of the database is {duration(abs(skew_s))} {side} the clock of "
            "this host.",
            "synchronise both hosts by NTP",
        )
    if autovacuum == "off":
        yield Finding(
            "autovacuum_off",
            "Autovacuum is off on the server, so dead rows slow claims down more and "
            "more.",
            "set autovacuum = on in postgresql.conf and reload",
        )
    for name, alive, dead, is_unattended in tables:
        yield from _of_table(name, alive, dead, is_unattended=is_unattended)


def _of_table(
    name: str, alive: int, dead: int, *, is_unattended: bool
) -> Iterator[Finding]:
    if is_unattended:
        yield Finding(
            "autovacuum_off",
            f"Autovacuum is off for the table {name}.",
            f"ALTER TABLE {name} RESET (autovacuum_enabled)",
        )
    if dead > max(MANY_DEAD_ROWS, alive):
        yield Finding(
            "dead_rows",
            f"The table {name} has {count(dead, 'dead row')} and {alive:,} live ones.",
            f"VACUUM (ANALYZE) {name}; if the number stays, end the oldest transaction",
        )
