"""What the store says in the end, read with plain SQL and through the real routes."""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.claims import REAPED_MESSAGE
from flask_forge_jobs.model.instants import to_micros
from tests.acceptance.application import BEATS_SUFFIX
from tests.acceptance.beats import lapses, read_beats
from tests.acceptance.fleet import Fleet
from tests.acceptance.ledger import (
    Counts,
    Evidence,
    Failure,
    FinalRow,
    KeptLine,
    StoredAttempt,
    read_ledger,
)
from tests.acceptance.rescues import deaths, with_late_claims
from tests.support.sql import UNDER_TEST, Sql

_SAMPLE = re.compile(r'queue_(\w+)_jobs\{queue="[^"]*"\} (\d+)')
_IDLERS = (
    f"SELECT pid, query FROM pg_stat_activity WHERE {UNDER_TEST} "
    "AND state LIKE 'idle in transaction%%' "
    "AND state_change < now() - make_interval(secs => ?)"
)
# What the API calls these jobs, and the state they are in.
_STATES = {"scheduled": "pending", "in_flight": "in_progress"}


def complete(
    evidence: Evidence,
    fleet: Fleet,
    sql: Sql,
    settings: DatabaseSettings,
    client: FlaskClient,
) -> None:
    """Add what there is to see once every worker of a fleet has stopped."""
    # The one that is kept may have begun while the server took no writes.
    sql.end_session()
    offset_ns = time.monotonic_ns() - time.time_ns()
    evidence.lives += fleet.lives
    evidence.lines += read_ledger(fleet.ledger)
    evidence.rows += final_rows(sql, monotonic_offset_ns=offset_ns)
    evidence.kills = with_late_claims(evidence.kills, evidence.rows)
    evidence.lapses += lapses(
        evidence.rows,
        read_beats(Path(f"{fleet.ledger}{BEATS_SUFFIX}")),
        fleet.gave_up(),
        lease_ns=fleet.lease_ns,
        died_at=deaths(evidence.kills),
        explained=[run for kill in evidence.kills for run in kill.held],
    )
    evidence.counts |= counts(sql, client)
    evidence.leftovers += leftovers(sql, settings)
    evidence.damage += damage(sql, settings)


def final_rows(sql: Sql, *, monotonic_offset_ns: int) -> list[FinalRow]:
    """Return every job.

    ``monotonic_offset_ns`` is monotonic minus wall-clock time of this machine.
    """
    rows = sql.run(
        "SELECT id, status, attempts, max_attempts, crashes, dedupe_key, "
        "error_history, result, worker_id, claims FROM forge_job ORDER BY id"
    )
    stored: defaultdict[str, list[StoredAttempt]] = defaultdict(list)
    for job_id, *columns in sql.run(
        "SELECT job_id, run, attempt, ending, worker_id, started_at, ended_at, slot "
        "FROM forge_attempt ORDER BY job_id, run"
    ):
        stored[job_id].append(StoredAttempt(*columns))
    lines = _kept_lines(sql)
    return [
        replace(
            _final_row(row, stored[row[0]], monotonic_offset_ns),
            kept_lines=tuple(lines[row[0]]),
        )
        for row in rows
    ]


def _kept_lines(sql: Sql) -> defaultdict[str, list[KeptLine]]:
    lines: defaultdict[str, list[KeptLine]] = defaultdict(list)
    for job_id, run, first_line, text in sql.run(
        "SELECT job_id, run, first_line, lines FROM forge_log "
        "ORDER BY job_id, run, first_line"
    ):
        attempt, *chunk = json.loads(text)
        for number, (*_, shown) in enumerate(chunk, first_line):
            lines[job_id].append(KeptLine(run, attempt, number, shown))
    return lines


def _final_row(
    row: tuple[Any, ...], stored: Iterable[StoredAttempt], offset_ns: int
) -> FinalRow:
    (
        job_id, status, attempts, limit, crashes, key, history, result, worker_id,
        claims,
    ) = row  # fmt: skip
    value = json.loads(result) if result else {}
    return FinalRow(
        job_id,
        status,
        attempts,
        limit,
        crashes,
        dedupe_key=key,
        failures=tuple(
            _failure(each, offset_ns) for each in json.loads(history or "[]")
        ),
        result_host=value.get("worker_id"),
        result_attempt=value.get("attempt"),
        worker_id=worker_id,
        claims=claims,
        stored_attempts=tuple(stored),
    )


def _failure(entry: dict[str, Any], offset_ns: int) -> Failure:
    at_ns = to_micros(datetime.fromisoformat(entry["at"])) * 1000
    is_reaped = entry["message"].startswith(REAPED_MESSAGE)
    return Failure(entry["attempt"], at_ns + offset_ns, is_reaped=is_reaped)


def counts(sql: Sql, client: FlaskClient) -> dict[str, Counts]:
    """Return how many jobs are in each state, by everything that says so."""
    overview = client.get("/forge-jobs/queue/overview").get_json()
    gauges = _SAMPLE.findall(client.get("/forge-jobs/metrics").text)
    rows = sql.run("SELECT status, COUNT(*) FROM forge_job GROUP BY status")
    maintained = sql.run(
        "SELECT status, SUM(jobs) FROM forge_job_count GROUP BY status"
    )
    return {
        "rows": _add(rows),
        "maintained": _add(maintained),
        "overview": _add(
            pair for queue in overview for pair in queue["counts"].items()
        ),
        "metrics": _add(gauges),
    }


def _add(pairs: Iterable[Iterable[Any]]) -> Counts:
    found: Counts = {}
    for name, number in pairs:
        state = _STATES.get(name, name)
        found[state] = found.get(state, 0) + int(number)
    return found


def duplicate_keys(sql: Sql) -> list[str]:
    """Return the dedupe keys that two unfinished jobs have."""
    rows = sql.run(
        "SELECT dedupe_key FROM forge_job WHERE dedupe_key IS NOT NULL "
        "AND status IN ('pending', 'in_progress', 'failed') "
        "GROUP BY dedupe_key HAVING COUNT(*) > 1"
    )
    return [key for (key,) in rows]


def leftovers(sql: Sql, settings: DatabaseSettings) -> list[str]:
    """Return what workers that have all ended should not have left behind."""
    left = [
        f"slot {slot_id}" for (slot_id,) in sql.run("SELECT slot_id FROM forge_slot")
    ]
    left += [
        f"worker {host}"
        for (host,) in sql.run(
            "SELECT worker_id FROM forge_worker WHERE lost_at IS NULL"
        )
    ]
    if settings.backend == "sqlite":
        folder = Path(f"{settings.path}-wake")
        if folder.is_dir():
            left += [f"socket {each.name}" for each in folder.iterdir()]
        return left
    idle = sql.run(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
        "AND state LIKE 'idle in transaction%'"
    )
    return left + [f"session {pid} is idle in a transaction" for (pid,) in idle]


def idlers(sql: Sql, least_s: float) -> list[str]:
    """Return the sessions that have done nothing in a transaction for so many seconds.

    SQLite has no sessions: a lock that is kept there stops everybody else.
    """
    if sql.backend == "sqlite":
        return []
    rows = sql.run(_IDLERS, least_s)
    return [f"session {pid} was idle in a transaction after {q}" for pid, q in rows]


def damage(sql: Sql, settings: DatabaseSettings) -> list[str]:
    """Return what the database's own check complains about.

    Raises:
        psycopg2.Error: An index of PostgreSQL is damaged, or the server lacks the
            extension that would know.
    """
    if settings.backend == "sqlite":
        said = [text for (text,) in sql.run("PRAGMA integrity_check")]
        return [] if said == ["ok"] else said
    sql.run("CREATE EXTENSION IF NOT EXISTS amcheck")
    # It raises on the first fault.
    sql.run(
        "SELECT bt_index_check(c.oid, TRUE) FROM pg_class c "
        "JOIN pg_am a ON a.oid = c.relam "
        "WHERE c.relkind = 'i' AND a.amname = 'btree' AND c.relname LIKE 'forge%'"
    )
    return []
