"""The answer of the overview in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from flask_forge_jobs.dashboard.overview.grouping import named
from flask_forge_jobs.dashboard.queue_rows import QueueRow
from flask_forge_jobs.handlers.attention.queues import jobs_wait
from flask_forge_jobs.handlers.attention.report import Report
from flask_forge_jobs.model.durations import elapsed
from flask_forge_jobs.model.sentences import Action, Sentence

_QUIET = "Nothing needs you"
_NUMBERS = (
    *("no", "one", "two", "three", "four", "five"),
    *("six", "seven", "eight", "nine"),
)


def headline(
    report: Report,
    needs: int,
    per_minute: float | None = None,
    idle: Sequence[str] = (),
) -> str:
    """Return whether work flows, and how many things need the reader.

    ``per_minute`` is how many jobs completed of late; None leaves it to the hour.
    ``idle`` queues have completed no job of late, although some wait.
    """
    if needs:
        said = _needed(report, needs, per_minute)
        return f"{said}, and {_idle(idle)}" if idle else said
    if not report.summary.evidence["workers"]:
        return "No worker is running"
    return f"Nothing needs you yet, but {_idle(idle)}" if idle else _QUIET


def _needed(report: Report, needs: int, per_minute: float | None) -> str:
    evidence = report.summary.evidence
    done = evidence.get("done_last_hour")
    if evidence.get("workers"):
        if done if per_minute is None else per_minute:
            return f"Work flows, but {things(needs)}"
        if done or evidence.get("running"):
            # Those that run may be the next to end, or never do.
            return things(needs).capitalize()
    waits = evidence.get("oldest_wait_s")
    return (
        f"Work stands still: {things(needs)}" if waits else things(needs).capitalize()
    )


def _idle(idle: Sequence[str]) -> str:
    if len(idle) == 1:
        return f"{idle[0]} completes no job"
    return f"{len(idle):,} queues complete no job"


def stalled(rows: Sequence[QueueRow]) -> Sentence | None:
    """Return a line about queues that complete no job; None without one."""
    if not rows:
        return None
    names = [row.name for row in rows]
    oldest_s = max(row.oldest_s or 0 for row in rows)
    waiting = jobs_wait(sum(row.counts.pending for row in rows))
    oldest = f"{waiting}, the oldest for {elapsed(oldest_s)}."
    evidence: dict[str, object] = {"oldest_wait_s": oldest_s}
    if len(rows) == 1:
        text = f"{_idle(names)}: {oldest}"
        return Sentence("queue_stalled", text, {"queue": names[0], **evidence})
    text = f"{_idle(names)}: {named(names)}. {oldest}"
    action = Action("GET", "/v1/queues?state=stalled", "Show queues")
    return Sentence("queue_stalled", text, evidence, action)


def proof(report: Report) -> str | None:
    """Return the numbers that prove that nothing is needed; None if something is."""
    if report.sentences:
        return None
    _, _, numbers = report.summary.text.partition(": ")
    return f"{numbers[:1].upper()}{numbers[1:]}" or None


def things(count: int) -> str:
    """Return ``one thing needs you``, ``12 things need you``."""
    number = _NUMBERS[count] if count < len(_NUMBERS) else f"{count:,}"
    return f"{number} thing needs you" if count == 1 else f"{number} things need you"
