"""Rules about schedules that did not fire, and rate limits that are used up."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from flask_forge_jobs.model.attention import Facts, LimitFacts, Need, ScheduleFacts
from flask_forge_jobs.model.durations import duration
from flask_forge_jobs.model.instants import format_instant
from flask_forge_jobs.model.sentences import Action, Sentence, count


def missed(facts: Facts) -> Iterator[Need]:
    """Yield the schedules that are overdue, or whose last firing failed."""
    for schedule in facts.schedules:
        error = schedule.error or (
            "it is overdue" if facts.live else "no worker is running"
        )
        time = format_instant(schedule.due_at.replace(microsecond=0))
        text = f"{schedule.name} did not fire at {time}: {error.rstrip('.')}."
        yield 0, Sentence("schedule_missed", text, _evidence(schedule), _run(schedule))


def _evidence(schedule: ScheduleFacts) -> dict[str, object]:
    return {
        "schedule": schedule.name,
        "kind": schedule.kind,
        "queue": schedule.queue_name,
        "due_at": schedule.due_at,
        "error": schedule.error,
    }


def _run(schedule: ScheduleFacts) -> Action:
    path = f"/v1/cron/{quote(schedule.name, safe='')}/trigger"
    return Action("POST", path, "Run now")


def used_up(facts: Facts) -> Iterator[Need]:
    """Yield the rate limits with a long line of jobs."""
    for limit in facts.limits:
        jobs = count(limit.tokens_due, "job waits", "jobs wait")
        text = (
            f"{limit.scope} is used up: {jobs} for a token, about "
            f"{duration(limit.line_s)} at {_rate(limit)}."
        )
        evidence = {
            "rate_limit": limit.scope,
            "tokens_due": limit.tokens_due,
            "line_s": round(limit.line_s),
            "refill_per_sec": limit.refill_per_sec,
        }
        path = f"/v1/rate-limits/{quote(limit.scope, safe='')}"
        action = Action("GET", path, "Show limit")
        yield limit.tokens_due, Sentence("rate_limit_used_up", text, evidence, action)


def _rate(limit: LimitFacts) -> str:
    for seconds, unit in ((1, "a second"), (60, "a minute"), (3600, "an hour")):
        if limit.refill_per_sec * seconds >= 1:
            return f"{limit.refill_per_sec * seconds:,.4g} {unit}"
    return f"{limit.refill_per_sec * 86_400:.2g} a day"
