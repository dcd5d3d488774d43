"""The sentences of the report in their order, or the proof that none is needed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from operator import attrgetter
from typing import Protocol

from flask_forge_jobs.handlers.attention import (
    database,
    kinds,
    queues,
    ties,
    upkeep,
    workers,
)
from flask_forge_jobs.model.attention import Facts, Need, QueueFacts
from flask_forge_jobs.model.durations import elapsed
from flask_forge_jobs.model.queues import QueueCounts
from flask_forge_jobs.model.sentences import Sentence, count

MAX_SENTENCES = 20
# astuple() copies each number deeply.
_NUMBERS = attrgetter(*(each.name for each in fields(QueueCounts)))
# The worst first.
RULES: Sequence[Callable[[Facts], Iterable[Need]]] = (
    database.misfit,
    database.locked,
    queues.unserved,
    queues.without_slots,
    queues.full,
    kinds.failing,
    queues.paused,
    queues.behind,
    kinds.unknown,
    ties.standing,
    ties.held,
    ties.left_open,
    upkeep.missed,
    workers.lost,
    database.slow,
    workers.late_duties,
    queues.cooling,
    upkeep.used_up,
    database.old_transactions,
    database.hazards,
)


@dataclass(frozen=True, slots=True)
class Report:
    """The report: sentences in the order of their rules, then of jobs or waits.

    ``summary`` says whether anything does, with the numbers that prove it. ``left_out``
    counts sentences after the first 20, ``left_out_alike`` those of them that have the
    code of the 20th. ``queues`` are the figures that it is about,
    ``served`` the names of the queues that a live worker serves.
    """

    at: datetime
    summary: Sentence
    sentences: Sequence[Sentence] = ()
    left_out: int = 0
    left_out_alike: int = 0
    queues: Sequence[QueueFacts] = ()
    served: Collection[str] = ()

    @property
    def is_read(self) -> bool:
        """Whether there are numbers; there are none without a schema that fits."""
        return "workers" in self.summary.evidence


def report(facts: Facts) -> Report:
    """Return the report of these facts."""
    sentences = [sentence for rule in RULES for sentence in _in_order(rule(facts))]
    shown, rest = sentences[:MAX_SENTENCES], sentences[MAX_SENTENCES:]
    alike = sum(each.code == shown[-1].code for each in rest)
    summary = _summary(facts, len(sentences))
    about = facts.queues, facts.served
    return Report(facts.at, summary, shown, len(rest), alike, *about)


def _in_order(needs: Iterable[Need]) -> list[Sentence]:
    return [
        each for _, each in sorted(needs, key=lambda need: (-need[0], need[1].text))
    ]


def _summary(facts: Facts, needs: int) -> Sentence:
    counts = counts_of(facts.queues)
    live, served = len(facts.live), len(facts.served & {q.name for q in facts.queues})
    oldest_s = max((queue.oldest_wait_s for queue in facts.queues), default=0)
    done = sum(kind.completed for kind in facts.kinds)
    dead = sum(kind.given_up for kind in facts.kinds)
    words = (
        f"{count(live, 'worker')} live",
        f"{served:,} of {count(len(facts.queues), 'queue')} served",
        _oldest(oldest_s, counts.pending),
        f"{count(done, 'job')} done and {dead:,} dead in the last hour",
    )
    fact = "Nothing needs you"
    if needs:
        fact = "1 thing needs you" if needs == 1 else f"{needs:,} things need you"
    evidence = {
        "needs": needs,
        "workers": live,
        "queues": len(facts.queues),
        "queues_served": served,
        "oldest_wait_s": oldest_s,
        "done_last_hour": done,
        "dead_last_hour": dead,
        "running": facts.running,
        "capacity": facts.capacity,
        "counts": asdict(counts),
    }
    code = "needs_you" if needs else "nothing_needs_you"
    if not facts.is_read:
        return Sentence(code, f"{fact}.", {"needs": needs})
    return Sentence(code, f"{fact}: {', '.join(words)}.", evidence)


def _oldest(wait_s: int, due: int) -> str:
    """Return how long the oldest due job waits; one of this second has no age yet."""
    if wait_s:
        return f"oldest job waits {elapsed(wait_s)}"
    return queues.jobs_wait(due) if due else "no due job waits"


class _Counted(Protocol):
    @property
    def counts(self) -> QueueCounts: ...


def counts_of(queues: Iterable[_Counted]) -> QueueCounts:
    """Return the jobs in each state over some queues."""
    rows = [_NUMBERS(queue.counts) for queue in queues]
    return QueueCounts(*map(sum, zip(*rows, strict=True)))
