"""The messages between a worker and a task process: one JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.outcomes import (
    Dead,
    Done,
    Failed,
    Outcome,
    Released,
    Snooze,
    Throttled,
)
from flask_forge_jobs.model.run_end import CancelReason
from flask_forge_jobs.model.run_logs import LogLine
from flask_forge_jobs.tasks.context import TaskContext

# A payload is at most 1 MiB, and JSON may escape each of its characters.
LONGEST_BYTES = 8 * 1024 * 1024

READY = {"ready": True}
STOP = {"stop": True}


@dataclass(frozen=True, slots=True)
class TaskRun:
    """A job for a task process; ``seconds_left`` until its time limit, None without."""

    job: ClaimedJob
    worker_id: str
    seconds_left: float | None


def encode(message: Mapping[str, object]) -> bytes:
    """Return a message as a line."""
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Return the message of a line; raise ValueError if it is not a JSON object."""
    message = json.loads(line)
    if type(message) is not dict:
        raise ValueError("not a JSON object")
    return message


def run_message(context: TaskContext, payload: str) -> dict[str, Any]:
    """Return the message that starts a run."""
    # A context without a run is that of a direct call.
    claim = 0 if context.run is None else context.run.job.claim
    return {
        "run": {
            "id": context.job_id,
            "queue": context.queue_name,
            "kind": context.kind,
            "payload": payload,
            "claim": claim,
            "attempt": context.attempt,
            "max_attempts": context.max_attempts,
            "throttle_attempts": context.throttle_attempts,
            "carried": json.dumps(dict(context.carried)),
            "worker_id": context.worker_id,
            "seconds_left": context.seconds_left(),
        }
    }


def run_of(message: dict[str, Any]) -> TaskRun:
    """Read the message of :func:`run_message`."""
    fields = message["run"]
    attempt, max_attempts = fields["attempt"], fields["max_attempts"]
    job = ClaimedJob(
        fields["id"], fields["queue"], fields["kind"], fields["payload"],
        0, 0, attempt, max_attempts, fields["throttle_attempts"], "[]", None,
        claim=fields["claim"], carried=fields["carried"],
    )  # fmt: skip
    return TaskRun(job, fields["worker_id"], fields["seconds_left"])


def cancel_message(reason: CancelReason | None) -> dict[str, Any]:
    """Return the message that stops a run."""
    return {"cancel": reason}


def progress_message(job_id: str, text: str) -> dict[str, Any]:
    """Return the message with a progress report.

    It names the job because a thread that outlives its task may still report.
    """
    return {"progress": text, "id": job_id}


def checkpoint_message(job_id: str, text: str) -> dict[str, Any]:
    """Return the message with a checkpoint."""
    return {"saved": text, "id": job_id}


def lines_message(
    job_id: str, lines: Sequence[LogLine], left_out_count: int
) -> dict[str, Any]:
    """Return the message with lines that a task has logged."""
    return {"lines": lines, "left_out": left_out_count, "id": job_id}


def lines_of(message: dict[str, Any]) -> tuple[list[LogLine], int]:
    """Read the message of :func:`lines_message`."""
    return [LogLine(*line) for line in message["lines"]], message["left_out"]


def outcome_message(job_id: str, outcome: Outcome) -> dict[str, Any]:
    """Return the message that ends the run of a job."""
    match outcome:
        case Done(result, result_error):
            fields: dict[str, Any] = {"done": result, "result_error": result_error}
        case Failed(message, retry_after_s, traceback):
            fields = {
                "failed": message,
                "retry_after_s": retry_after_s,
                "traceback": traceback,
            }
        case Snooze():
            fields = {"snoozed": outcome.retry_after_s, "reason": outcome.reason}
        case Throttled():
            fields = {
                "throttled": outcome.retry_after_s,
                "scope": outcome.scope,
                "reason": outcome.reason,
            }
        case Dead():
            fields = {"dead": outcome.message, "traceback": outcome.traceback}
        case Released():
            fields = {"released": True}
    return {"outcome": fields, "id": job_id}


def outcome_of(message: dict[str, Any]) -> Outcome:
    """Read the message of :func:`outcome_message`."""
    fields = message["outcome"]
    if "done" in fields:
        return Done(fields["done"], fields["result_error"])
    if "failed" in fields:
        return Failed(fields["failed"], fields["retry_after_s"], fields["traceback"])
    if "snoozed" in fields:
        return Snooze(fields["snoozed"], fields["reason"])
    if "throttled" in fields:
        return Throttled(
            fields["throttled"], scope=fields["scope"], reason=fields["reason"]
        )
    if "dead" in fields:
        return Dead(fields["dead"], fields["traceback"])
    return Released()
