"""Rows of queues, as the overview and the page of queues show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from flask_forge_jobs.dashboard import words
from flask_forge_jobs.dashboard.charts.small import Spark, spark
from flask_forge_jobs.handlers.attention.report import Report
from flask_forge_jobs.handlers.queue_rates import NO_RATES, QueueRates
from flask_forge_jobs.model.attention import QueueFacts
from flask_forge_jobs.model.queues import (
    BEHIND_S,
    GOOD_PART,
    QueueCounts,
    QueueOverview,
    QueueSettings,
)
from flask_forge_jobs.model.sentences import count

# A worker makes the slots of a resumed queue with its next heartbeat, and notes once a
# minute that it serves the queue.
_SLOTS_WITHIN, _SERVED_WITHIN = timedelta(seconds=5), timedelta(seconds=65)


class QueueState(StrEnum):
    """Whether a queue runs jobs, in time or late, and if not, why."""

    LIVE = "live"
    BEHIND = "behind"
    # It has slots, but none of its jobs completes.
    STALLED = "stalled"
    PAUSED = "paused"
    COOLING = "cooling"
    WITHOUT_SLOTS = "without_slots"
    WITHOUT_WORKER = "without_worker"


_RUN = frozenset({QueueState.LIVE, QueueState.BEHIND, QueueState.STALLED})


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One queue.

    ``busy`` of ``slots`` live slots run a job; workers have claimed the rest of its
    jobs in progress ahead. ``oldest_s`` is how long the oldest due one waits, None
    without one. From ``behind_s`` on, that is too long. ``due_since`` is when it became
    due. ``cools`` says that it cools down, even if it would not run otherwise either; a
    paused queue does not.
    """

    settings: QueueSettings
    state: QueueState
    cools: bool
    counts: QueueCounts
    busy: int
    slots: int
    oldest_s: int | None
    due_since: datetime | None
    rates: QueueRates
    behind_s: float

    @property
    def name(self) -> str:
        """The queue's name."""
        return self.settings.name

    @property
    def running(self) -> int:
        """Jobs in slots; one may have ended since its slot was reported."""
        return min(self.busy, self.counts.in_progress)

    @property
    def ahead(self) -> str:
        """Its jobs that run in no live slot, in words; empty without one."""
        return ahead(self.counts.in_progress - self.running, is_served=self.slots > 0)

    @property
    def backlog(self) -> int:
        """Jobs that start some time: now, for a retry, or at their time."""
        return self.counts.pending + self.counts.failed + self.counts.scheduled

    @property
    def spark(self) -> Spark:
        """The completed jobs of the last hour, but for the last few minutes.

        Their bucket is not over yet, so a steady pace would end in a fall.
        """
        return spark(self.rates.completed[:-1])

    @property
    def runs(self) -> bool:
        """Whether jobs start."""
        return self.state in _RUN

    @property
    def completes_none(self) -> bool:
        """Whether jobs wait for a while, although it runs, and none has completed.

        None is in progress either. Rates count no failed runs; without rates it is
        unknown.
        """
        has_rates = self.rates is not NO_RATES
        return self.is_still and has_rates and not self.rates.per_minute

    @property
    def is_still(self) -> bool:
        """Whether jobs wait for a while, although it runs, and none is in progress."""
        return self.runs and self.pace != "good" and not self.counts.in_progress

    @property
    def is_behind(self) -> bool:
        """Whether its oldest due job waits too long."""
        return self.oldest_s is not None and self.oldest_s >= self.behind_s

    @property
    def pace(self) -> str:
        """Whether its oldest wait is ``good``, ``warn`` or ``bad``.

        Empty for a short one of a queue that does not run: nothing ends it.
        """
        if self.is_behind:
            return "bad"
        if (self.oldest_s or 0) >= self.behind_s / GOOD_PART:
            return "warn"
        return "good" if self.runs else ""


def ahead(number: int, *, is_served: bool) -> str:
    """Return words for claimed jobs that run in no live slot; empty for none."""
    if number <= 0:
        return ""
    shown = words.number(number)
    return f"{shown} claimed ahead" if is_served else f"{shown} of lost workers"


def shared_slots(rows: Sequence[QueueRow], capacity: int) -> str:
    """Return words for slots that are of several queues; empty if each has its own.

    The workers run ``capacity`` jobs at once, so fewer than the slots of the rows say.
    """
    if not 0 < capacity < sum(row.slots for row in rows):
        return ""
    return f"share {count(capacity, 'slot')}"


def queue_rows(
    queues: Sequence[QueueOverview],
    rates: Mapping[str, QueueRates],
    now: datetime,
    behind_s: float = BEHIND_S,
    report: Report | None = None,
) -> Sequence[QueueRow]:
    """Return a row per queue, in order; the slots are those of live workers.

    The figures are those of the ``report`` that the rest of the page shows: it is read
    at another moment.
    """
    known = {each.name: each for each in report.queues} if report else {}
    rows = []
    for queue in queues:
        name = queue.settings.name
        facts = known.get(name)
        at = report.at if report and facts else now
        rows.append(_row(queue, rates[name], at, behind_s, facts))
    return rows


def _row(
    queue: QueueOverview,
    rates: QueueRates,
    now: datetime,
    behind_s: float,
    facts: QueueFacts | None,
) -> QueueRow:
    settings, counts, age_s = queue.settings, queue.counts, queue.oldest_due_age_s
    busy = sum(slot.current_job_id is not None for slot in queue.slots)
    if facts is not None:
        counts, age_s, busy = facts.counts, facts.oldest_wait_s, facts.busy_slots
    oldest_s = age_s if counts.pending or counts.failed else None
    slots = min(len(queue.slots), settings.max_workers)
    state = state_of(queue, now)
    if state is QueueState.LIVE and oldest_s is not None and oldest_s >= behind_s:
        state = QueueState.BEHIND
    shown = QueueRow(
        settings=settings,
        state=state,
        cools=_cools(settings, now) and not settings.paused,
        counts=counts,
        busy=busy,
        slots=max(slots, busy),
        oldest_s=oldest_s or None,
        due_since=words.since(now, oldest_s) if oldest_s else None,
        rates=rates,
        behind_s=behind_s,
    )
    is_stalled = state is QueueState.LIVE and shown.completes_none
    return replace(shown, state=QueueState.STALLED) if is_stalled else shown


def _cools(settings: QueueSettings, now: datetime) -> bool:
    return settings.throttled_until is not None and settings.throttled_until > now


def _will_have_slots(settings: QueueSettings, now: datetime) -> bool:
    """Whether its worker has yet to make the slots of a queue that was resumed."""
    changed, served = settings.updated_at, settings.last_served_at
    return (
        changed is not None
        and served is not None
        and now - changed < _SLOTS_WITHIN
        and now - served < _SERVED_WITHIN
    )


def state_of(queue: QueueOverview, now: datetime) -> QueueState:
    """Return whether a queue runs, however late; its slots are of live workers."""
    settings = queue.settings
    if settings.paused:
        return QueueState.PAUSED
    if settings.max_workers == 0:
        return QueueState.WITHOUT_SLOTS
    if not queue.slots and not _will_have_slots(settings, now):
        return QueueState.WITHOUT_WORKER
    if _cools(settings, now):
        return QueueState.COOLING
    return QueueState.LIVE
