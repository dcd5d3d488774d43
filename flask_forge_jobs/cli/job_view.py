"""One job as text: ``flask forge-jobs jobs show``."""

from __future__ import annotations

import json
from collections.abc import Iterator

from flask_forge_jobs.cli.facts import MAX_VALUE_LENGTH, fact_lines, instant
from flask_forge_jobs.cli.tables import Column, Row, span, table_lines
from flask_forge_jobs.model.durations import duration
from flask_forge_jobs.model.instants import MAX_INSTANT_US, format_instant, from_micros
from flask_forge_jobs.model.log_lines import one_line


def _result(step: Row) -> object:
    # A large result is left out of the answer.
    is_left_out = step["result"] is None and step["size"] > len("null")
    return f"{step['size']:,} bytes" if is_left_out else json.dumps(step["result"])


_ATTEMPTS = (
    Column("ATTEMPT", "attempt", is_number=True),
    Column("STARTED", lambda row: instant(row["started_at"])),
    Column("WAITED", span("wait_ms"), is_number=True),
    Column("RAN", span("run_ms"), is_number=True),
    Column(
        "WORKER", lambda row: row["worker_name"] or row["worker_id"], is_elastic=True
    ),
    Column("ENDED", lambda row: row["ending"] or "runs"),
    Column("ERROR", "error", is_elastic=True),
)


_STEPS = (
    Column("STEP", "name", is_elastic=True),
    Column("ATTEMPT", "attempt", is_number=True),
    Column("STORED", lambda row: instant(row["at"])),
    Column("RESULT", _result, is_elastic=True),
)

_PARENTS = (
    Column("WAITS FOR", "id"),
    Column("KIND", lambda row: row["kind"] or "batch", is_elastic=True),
    Column("QUEUE", "queue_name", is_elastic=True),
    Column("STATE", lambda row: row["ended"] or row["status"] or "unfinished"),
    Column("IF DEAD", "on_parent_dead"),
    Column("ERROR", "error", is_elastic=True),
)
_DEPENDENTS = (
    Column("AWAITED BY", "id"),
    Column("KIND", "kind", is_elastic=True),
    Column("QUEUE", "queue_name", is_elastic=True),
    Column("STATE", lambda row: "waits" if row["is_waiting"] else row["status"]),
    Column("IF DEAD", "on_parent_dead"),
)
# The start of a job that waits for others.
_END_OF_TIME = format_instant(from_micros(MAX_INSTANT_US))


def waits_for_jobs(row: Row) -> bool:
    """Whether a job of a list waits for others, and has no start of its own yet."""
    return (row["status"], row["scheduled_at"]) == ("pending", _END_OF_TIME)


def job_lines(job: Row) -> Iterator[str]:
    """Yield the lines of a job, as ``GET /v1/jobs/{id}`` answers it."""
    yield f"job {one_line(job['row']['id'])}"
    yield from fact_lines(_facts(job))
    if job["attempts"]:
        yield ""
        yield from table_lines(_ATTEMPTS, job["attempts"])
    for columns, others in (
        (_PARENTS, job["parents"]),
        (_DEPENDENTS, job["dependents"]),
    ):
        if others:
            yield ""
            yield from table_lines(columns, others)
    steps = [
        {**step, "attempt": attempt["attempt"]}
        for attempt in job["attempts"]
        for step in attempt["steps"]
    ]
    if steps:
        yield ""
        yield from table_lines(_STEPS, steps)
    if job["traceback"]:
        yield ""
        for line in job["traceback"].splitlines():
            yield one_line(line, MAX_VALUE_LENGTH)


def _facts(job: Row) -> dict[str, object]:
    row = job["row"]
    ending = row["ending"]
    same = (None, row["status"])
    waits = waits_for_jobs(row)
    return {
        "kind": row["kind"],
        "queue": f"{row['queue_name']}, priority {row['priority']}",
        "status": row["status"] + (f", {ending}" if ending not in same else ""),
        "attempts": f"{row['attempts']} of {row['max_attempts']}",
        "enqueued": row["enqueued_at"],
        "batch": job["batch_id"],
        "due": "when other jobs have ended" if waits else row["scheduled_at"],
        "not before": job["start_at"] if waits else None,
        "started": row["started_at"],
        "ended": row["completed_at"],
        "waited": _span(job["wait_ms"]),
        "ran": _span(job["run_ms"]),
        "timeout": None if job["timeout_s"] is None else duration(job["timeout_s"]),
        "dedupe key": row["dedupe_key"],
        "schedule": job["schedule_name"],
        "origin": job["origin"],
        "crashes": job["crashes"] or None,
        "payload": job["payload"],
        "progress": job["progress"],
        "steps": job["step_count"] or None,
        "checkpoint": job["checkpoint"] and job["checkpoint"]["value"],
        "result": job["result"],
        "no result": job["result_error"],
        "last error": row["last_error"],
        "signature": job["signature"],
        "masked": "secrets; --reveal shows them" if job["redacted"] else None,
    }


def _span(ms: int | None) -> str | None:
    return None if ms is None else duration(ms / 1000)
