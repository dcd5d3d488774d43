"""Compares enqueued jobs with those that a test expects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask_forge_jobs.model import bounds
from flask_forge_jobs.model.jobs import Job
from flask_forge_jobs.model.payloads import dump, load_text

# An application reads its own clock a moment before the job is stored.
AT_TOLERANCE = timedelta(seconds=5)
MAX_SHOWN = 5
_NOTHING = object()


@dataclass(frozen=True, slots=True)
class JobMatch:
    """The job that a test expects; None accepts anything."""

    kind: str
    args: Mapping[str, object] | None = None
    queue: str | None = None
    at: datetime | timedelta | None = None

    def __post_init__(self) -> None:
        at: object = self.at
        if not isinstance(at, datetime | timedelta | None):
            raise TypeError(
                f"at= takes a datetime or a timedelta, not {bounds.shown(at)}"
            )
        if isinstance(at, datetime) and at.utcoffset() is None:
            raise ValueError("at= takes a datetime with a time zone")

    def differences(self, job: Job) -> list[str]:
        """Return how a job of the kind differs, one line each; empty if it matches."""
        return list(self._differences(job))

    def _differences(self, job: Job) -> Iterator[str]:
        stored = load_text(job.payload)
        arguments = stored if isinstance(stored, dict) else {}
        for name, value in (self.args or {}).items():
            # As stored, where a tuple is a list.
            expected = load_text(dump(value, name))
            is_there = arguments.get(name, _NOTHING)
            if is_there is _NOTHING:
                yield f"args[{name!r}]: expected {expected!r}, is missing"
            elif not _is_same(is_there, expected):
                yield f"args[{name!r}]: expected {expected!r}, got {is_there!r}"

        if self.queue is not None and self.queue != job.queue_name:
            yield f"queue: expected {self.queue!r}, got {job.queue_name!r}"
        if self.at is None:
            return
        due = job.scheduled_at
        expected = (
            job.enqueued_at + self.at if isinstance(self.at, timedelta) else self.at
        )
        if abs(due - expected) > AT_TOLERANCE:
            yield f"at: expected {expected.isoformat()}, got {due.isoformat()}"

    def __str__(self) -> str:
        parts = [self.kind]
        for name in ("args", "queue", "at"):
            value = getattr(self, name)
            if value is not None:
                parts.append(f"{name}={value!r}")
        return ", ".join(parts)


def missing_text(
    match: JobMatch, jobs: Sequence[Job], other_kinds: Sequence[str]
) -> str:
    """Return the message when none of the jobs of a kind matches."""
    lines = [f"no job was enqueued for: {match}"]
    if not jobs:
        others = ", ".join(other_kinds) or "nothing"
        lines.append(f"no job of the kind {match.kind!r} at all; enqueued: {others}")
        return "\n".join(lines)
    compared = [(match.differences(job), job) for job in jobs]
    compared.sort(key=lambda pair: len(pair[0]))
    for differences, job in compared[:MAX_SHOWN]:
        lines.append(f"  {shown(job)}")
        lines += [f"    {line}" for line in differences]
    if len(compared) > MAX_SHOWN:
        lines.append(f"  and {len(compared) - MAX_SHOWN} more that differ as much")
    return "\n".join(lines)


def unexpected_text(match: JobMatch, jobs: Sequence[Job]) -> str:
    """Return the message when jobs match that should not."""
    lines = [f"jobs were enqueued for: {match}"]
    lines += [f"  {shown(job)}" for job in jobs[:MAX_SHOWN]]
    if len(jobs) > MAX_SHOWN:
        lines.append(f"  and {len(jobs) - MAX_SHOWN} more")
    return "\n".join(lines)


def shown(job: Job) -> str:
    """Return a job in one line."""
    return (
        f"{job.kind} {job.payload} queue={job.queue_name!r} "
        f"at={job.scheduled_at.isoformat()} ({job.status})"
    )


def _is_same(value: Any, expected: Any) -> bool:
    """Compare JSON values; ``True`` is not 1."""
    return dump(value) == dump(expected)
