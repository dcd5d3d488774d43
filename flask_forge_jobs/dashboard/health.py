"""Health in words: the results of the readiness checks as sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.dashboard.overview.grouping import grouped
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.handlers.readiness import Readiness, ReadinessCheck
from flask_forge_jobs.model.durations import duration
from flask_forge_jobs.model.sentences import count

WORKER_COMMAND = "flask forge-jobs worker"
MIGRATE_COMMAND = "flask forge-jobs db migrate"
# The duties of a worker by their effect, since their names are those of code.
DUTIES: Mapping[str, str] = {
    "batch-checks": "checks of batches",
    "bulk-runs": "actions on many jobs",
    "cron": "schedules",
    "gauges": "measures of the queues",
    "heartbeat": "the heartbeat",
    "leader": "the choice of the leader",
    "metrics-upkeep": "merges of metrics",
    "reaper": "rescue of lost jobs",
    "retention": "deletion of old jobs",
    "sampler": "measures of CPU and memory",
    "supervisor": "settings of the queues",
    "upkeep": "counts of jobs",
}


class Tone(StrEnum):
    """How a fact is shown: by a colour, a shape and a word."""

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Fact:
    """The result of one check.

    The worst fact heads the page with its ``title``, and a ``reason`` that its words do
    not give; without a title it never does. ``command`` is the remedy.
    """

    name: str
    tone: Tone
    words: str
    title: str | None = None
    reason: str | None = None
    command: str | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """The answer, the reason for it, and the facts behind it."""

    title: str
    tone: Tone
    reason: str
    facts: Sequence[Fact]


def in_words(readiness: Readiness, needs: int = 0) -> Health:
    """Return the results of all checks as sentences, the worst as the title.

    ``needs`` is how many things need the caller.
    """
    checks = {check.name: check for check in readiness.checks}
    is_known = checks["storage"].ok and checks["schema"].ok
    facts = [_database(checks["storage"], readiness.answer_s)]
    facts.append(_schema(checks["schema"]))
    facts.append(_workers(readiness.workers, is_known=is_known))
    facts.append(_duties(readiness, is_known=is_known))
    facts.append(_queues(checks["queues"], readiness, is_known=is_known))
    snapshot = checks["snapshots"].detail
    if is_known and snapshot is not None:
        title = "Healthy, but an old transaction slows claims"
        facts.append(Fact("Transactions", Tone.WARN, _sentence(snapshot), title))
    if is_known and needs:
        things = count(needs, "thing needs", "things need")
        title = f"Healthy, but {things} you"
        said = f"{things} you."
        facts.append(Fact("Work", Tone.WARN, said, title, "The overview says which."))
    for tone in (Tone.BAD, Tone.WARN):
        for fact in facts:
            if fact.tone is tone and fact.title is not None:
                return Health(fact.title, tone, fact.reason or "", facts)
    workers = count(readiness.workers, "worker is", "workers are")
    answer = f"The database answers in {duration(readiness.answer_s)}"
    return Health("Healthy", Tone.GOOD, f"{answer}; {workers} live.", facts)


def needs_of(api: Api) -> int:
    """Return how many things need the caller; 0 if that cannot be read."""
    try:
        report = api.attention.report(api.storage, api.scope.queues)
    except StorageError:
        return 0
    lines, left_out = grouped(report)
    return len(lines) + left_out


def _database(check: ReadinessCheck, answer_s: float) -> Fact:
    if check.ok:
        words = f"Answers in {duration(answer_s)} and takes writes."
        return Fact("Database", Tone.GOOD, words)
    fault = check.detail or "does not answer"
    return Fact(
        "Database",
        Tone.BAD,
        _sentence(fault),
        f"The database {fault}",
        "Stored jobs are kept. Meanwhile no job starts and none is added.",
    )


def _schema(check: ReadinessCheck) -> Fact:
    detail = check.detail or ""
    if check.ok:
        number = detail.partition(",")[0].removeprefix("version ")
        return Fact("Schema", Tone.GOOD, f"Version {number} fits this code.")
    if detail == "unknown":
        return Fact("Schema", Tone.UNKNOWN, "Unknown.")
    is_old = detail.startswith("version") and "needs code" not in detail
    return Fact(
        "Schema",
        Tone.BAD,
        _sentence(detail),
        "The database's schema is old" if is_old else "The database's schema differs",
        command=MIGRATE_COMMAND if is_old else None,
    )


def _workers(live: int, *, is_known: bool) -> Fact:
    if not is_known:
        return Fact("Workers", Tone.UNKNOWN, "Unknown.")
    if live:
        return Fact("Workers", Tone.GOOD, f"{live} live.")
    return Fact(
        "Workers",
        Tone.WARN,
        "No worker is live. Start one:",
        "No worker is running",
        "Jobs are stored, and wait until a worker starts.",
        WORKER_COMMAND,
    )


def _duties(readiness: Readiness, *, is_known: bool) -> Fact:
    if not is_known:
        return Fact("Duties", Tone.UNKNOWN, "Unknown.")
    if not readiness.workers:
        return Fact("Duties", Tone.UNKNOWN, "Workers do them.")
    late = [
        f"{DUTIES.get(each.name, each.name)} for {duration(each.age_s)}"
        for each in readiness.services
        if each.is_late
    ]
    if not late:
        return Fact("Duties", Tone.GOOD, "All are on time.")
    title = "Healthy, but duties of a worker are overdue"
    return Fact("Duties", Tone.WARN, f"Not done: {', '.join(late)}.", title)


def _queues(check: ReadinessCheck, readiness: Readiness, *, is_known: bool) -> Fact:
    if not is_known:
        return Fact("Queues", Tone.UNKNOWN, "Unknown.")
    if check.detail is None:
        if not readiness.queues:
            return Fact("Queues", Tone.UNKNOWN, "None runs jobs.")
        queues = count(readiness.queues, "queue has", "queues have")
        return Fact("Queues", Tone.GOOD, f"{queues} a worker.")
    unserved = readiness.unserved
    queues = "a queue has" if unserved == 1 else f"{unserved:,} queues have"
    title = f"Healthy, but {queues} no worker"
    return Fact("Queues", Tone.WARN, _sentence(check.detail), title)


def _sentence(detail: str) -> str:
    return f"{detail[:1].upper()}{detail[1:]}."
