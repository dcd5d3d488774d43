"""The messages between a worker and a task process: one JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
    return {
        "run": {
            "id": context.job_id,
            "queue": context.queue_name,
            "kind": context.kind,
            "payload": payload,
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
    told = message["run"]
    attempt, most = told["attempt"], told["max_attempts"]
    job = ClaimedJob(
        told["id"], told["queue"], told["kind"], told["payload"],
        0, 0, attempt, most, told["throttle_attempts"], "[]", None,
        carried=told["carried"],
    )  # fmt: skip
    return TaskRun(job, told["worker_id"], told["seconds_left"])


def cancel_message(reason: CancelReason | None) -> dict[str, Any]:
    """Return the message that stops a run."""
    return {"cancel": reason}


def progress_message(job_id: str, text: str) -> dict[str, Any]:
    """Return the message with a progress report.

    It names the job because a thread that outlives its task may still report.
    """
    return {"progress": text, "id": job_id}


def outcome_message(job_id: str, outcome: Outcome) -> dict[str, Any]:
    """Return the message that ends the run of a job."""
    match outcome:
        case Done(result, result_error):
            told: dict[str, Any] = {"done": result, "result_error": result_error}
        case Failed(message, retry_after_s, traceback):
            told = {
                "failed": message,
                "retry_after_s": retry_after_s,
                "traceback": traceback,
            }
        case Snooze():
            told = {"snoozed": outcome.retry_after_s, "reason": outcome.reason}
        case Throttled():
            told = {
                "throttled": outcome.retry_after_s,
                "scope": outcome.scope,
                "reason": outcome.reason,
            }
        case Dead():
            told = {"dead": outcome.message, "traceback": outcome.traceback}
        case Released():
            told = {"released": True}
    return {"outcome": told, "id": job_id}


def outcome_of(message: dict[str, Any]) -> Outcome:
    """Read the message of :func:`outcome_message`."""
    told = message["outcome"]
    if "done" in told:
        return Done(told["done"], told["result_error"])
    if "failed" in told:
        return Failed(told["failed"], told["retry_after_s"], told["traceback"])
    if "snoozed" in told:
        return Snooze(told["snoozed"], told["reason"])
    if "throttled" in told:
        return Throttled(told["throttled"], scope=told["scope"], reason=told["reason"])
    if "dead" in told:
        return Dead(told["dead"], told["traceback"])
    return Released()
