"""Health in words: the results of the readiness checks as sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.dashboard import words
from flask_forge_jobs.dashboard.overview.grouping import grouped, named
from flask_forge_jobs.dashboard.reads import report_of
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.handlers.readiness import Readiness, ReadinessCheck
from flask_forge_jobs.model.durations import duration
from flask_forge_jobs.model.sentences import Sentence, count

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
# The check that says the same as a sentence of the attention report, by its code.
_CHECKS: Mapping[str, str] = {
    "no_worker": "Workers",
    "queue_unserved": "Queues",
    "duty_late": "Duties",
    "transaction_open": "Transactions",
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
    not give; without a title it never does. ``command`` is the remedy; ``label`` leads
    to the ``page``, below the mount point, that shows more.
    """

    name: str
    tone: Tone
    words: str
    title: str | None = None
    reason: str | None = None
    command: str | None = None
    label: str | None = None
    page: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """The answer, the reason for it, and the facts behind it."""

    title: str
    tone: Tone
    reason: str
    facts: Sequence[Fact]
    is_away: bool = False


def in_words(
    readiness: Readiness, needs: Sequence[Sentence] = (), left_out: int = 0
) -> Health:
    """Return the results of all checks as sentences, the worst as the title.

    ``needs`` are what needs the caller, without ``left_out`` more.
    """
    checks = {check.name: check for check in readiness.checks}
    is_known = checks["storage"].ok and checks["schema"].ok
    facts = [_database(checks["storage"], readiness.answer_s)]
    facts.append(_schema(checks["schema"]))
    if is_known:
        facts.append(_workers(readiness.workers))
        facts.append(_duties(readiness))
        facts.append(_queues(checks["queues"], readiness))
    else:
        names = ("Workers", "Duties", "Queues")
        facts += [Fact(name, Tone.UNKNOWN, "Unknown.") for name in names]
    snapshot = checks["snapshots"].detail
    if is_known and snapshot is not None:
        title = "Healthy, but an old transaction slows claims"
        facts.append(Fact("Transactions", Tone.WARN, _sentence(snapshot), title))
    if is_known:
        faults = {fact.name for fact in facts if fact.title is not None}
        others = [each for each in needs if _CHECKS.get(each.code) not in faults]
        if others or left_out:
            facts.append(_work(others, left_out))
    for tone in (Tone.BAD, Tone.WARN):
        for fact in facts:
            if fact.tone is tone and fact.title is not None:
                reason = fact.reason or ""
                return Health(fact.title, tone, reason, facts, is_away=not is_known)
    workers = count(readiness.workers, "worker is", "workers are")
    answer = f"The database answers in {duration(readiness.answer_s)}"
    return Health("Healthy", Tone.GOOD, f"{answer}; {workers} live.", facts)


def needs_of(api: Api) -> tuple[Sequence[Sentence], int]:
    """Return what needs the caller, and how many things more; none if it is unread."""
    try:
        return grouped(report_of(api))
    except StorageError:
        return (), 0


def _work(needs: Sequence[Sentence], left_out: int) -> Fact:
    """Return what needs the caller by the facts of the first sentences."""
    facts = [words.short_ids(words.fact(each.text)[0]).rstrip(".:") for each in needs]
    things = count(len(facts) + left_out, "thing needs", "things need")
    said = f"{named(facts, left_out)}."
    return Fact(
        "Work", Tone.WARN, said, f"Healthy, but {things} you", label="Show the overview"
    )


def _database(check: ReadinessCheck, answer_s: float) -> Fact:
    if check.ok:
        said = f"Answers in {duration(answer_s)} and takes writes."
        return Fact("Database", Tone.GOOD, said)
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


def _workers(live: int) -> Fact:
    if live:
        return Fact("Workers", Tone.GOOD, f"{live} live.")
    return Fact(
        "Workers",
        Tone.BAD,
        "No worker is live. Start one:",
        "No worker is running",
        "Jobs are stored, and wait until a worker starts.",
        WORKER_COMMAND,
    )


def _duties(readiness: Readiness) -> Fact:
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


def _queues(check: ReadinessCheck, readiness: Readiness) -> Fact:
    if check.detail is None:
        if not readiness.queues:
            none = "All are paused or without slots."
            said = none if readiness.registered else "No queue yet."
            return Fact("Queues", Tone.UNKNOWN, said)
        queues = count(readiness.queues, "queue has", "queues have")
        return Fact("Queues", Tone.GOOD, f"{queues} a worker.")
    *others, last = readiness.unserved
    if others:
        lacking = f"{len(others) + 1:,} queues have no worker"
        said = f"{lacking}: {named(readiness.unserved)}."
    else:
        lacking, said = "a queue has no worker", f"Queue {last} has no worker."
    title = f"Healthy, but {lacking}"
    return Fact("Queues", Tone.BAD, said, title, label="Show workers", page="workers")


def _sentence(detail: str) -> str:
    return f"{detail[:1].upper()}{detail[1:]}."
