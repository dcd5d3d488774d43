"""Rules about kinds: those that fail more than usual, those that no worker knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlencode

from flask_forge_jobs.model.attention import Facts, KindFacts, Need
from flask_forge_jobs.model.proportions import Failures
from flask_forge_jobs.model.sentences import Action, Sentence, count

# Fewer failures are bad luck, whatever the odds.
MIN_FAILURES = 5


def usual(kind: KindFacts) -> Failures:
    """Return the period to compare with: the day, or without one the hour before.

    The day decides even if the kind failed in the hour before, too. Otherwise a fault
    would be usual an hour after its begin.
    """
    return kind.day if kind.day.runs > kind.hour_before.runs else kind.hour_before


def is_failing(kind: KindFacts) -> bool:
    """Whether a kind fails more than usual, and jobs of it are left to care for.

    Once none of them is dead or waits, the failures of the hour are history. See
    :meth:`.Failures.is_above`.
    """
    if not (kind.dead or kind.waiting):
        return False
    return kind.hour.failed >= MIN_FAILURES and kind.hour.is_above(usual(kind))


def failing(facts: Facts) -> Iterator[Need]:
    """Yield the kinds that fail more than usual."""
    queues_of = Counter(kind.kind for kind in facts.kinds)
    for kind in facts.kinds:
        if is_failing(kind):
            where = f" in {kind.queue_name}" if queues_of[kind.kind] > 1 else ""
            yield kind.hour.failed, _failing(kind, where)


def unknown(facts: Facts) -> Iterator[Need]:
    """Yield the kinds with waiting jobs that no live worker of their queue knows."""
    for kind in facts.kinds:
        if kind.is_known or not kind.waiting:
            continue
        jobs = f"{count(kind.waiting, 'job')} of it cannot run"
        text = f"No worker of {kind.queue_name} knows the kind {kind.kind}. {jobs}."
        evidence = {"kind": kind.kind, "queue": kind.queue_name, "jobs": kind.waiting}
        query = urlencode({"queue": kind.queue_name, "kind": kind.kind})
        action = Action("GET", f"/v1/jobs?{query}", "Show jobs")
        yield kind.waiting, Sentence("kind_unknown", text, evidence, action)


def _failing(kind: KindFacts, where: str) -> Sentence:
    before = usual(kind)
    text = (
        f"{kind.kind} fails more than usual{where}: {_percent(kind.hour.share)} of "
        f"{count(kind.hour.runs, 'run')} in the last hour, {_percent(before.share)} "
        "before."
    )
    if kind.error:
        text += f" Most say {kind.error.rstrip('.')}."
    evidence = {
        "kind": kind.kind,
        "queue": kind.queue_name,
        "hour": _numbers(kind.hour),
        "hour_before": _numbers(kind.hour_before),
        "day": _numbers(kind.day),
        "error": kind.error,
        "dead": kind.dead,
    }
    return Sentence("kind_fails", text, evidence, _action(kind))


def _action(kind: KindFacts) -> Action:
    if not kind.dead:  # those that failed come back by themselves
        query = urlencode({"queue": kind.queue_name, "kind": kind.kind})
        return Action("GET", f"/v1/errors?{query}", "Show errors")
    matching = {
        "queues": [kind.queue_name], "kinds": [kind.kind], "statuses": ["dead"]
    }  # fmt: skip
    body = {"action": "retry", "filter": matching, "expected": kind.dead}
    return Action("POST", "/v1/jobs/actions", f"Retry {kind.dead:,}", body)


def _numbers(failures: Failures) -> dict[str, int]:
    return {"runs": failures.runs, "failed": failures.failed}


def _percent(share: float) -> str:
    percent = 100 * share
    if not percent:
        return "none"
    return f"{percent:.0f}%" if percent >= 1 else f"{percent:.1g}%"
