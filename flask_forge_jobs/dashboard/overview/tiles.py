"""The tiles: six numbers, each with its history and one comparison."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median
from typing import NamedTuple, TypeVar

from flask_forge_jobs.dashboard import words
from flask_forge_jobs.dashboard.charts.ranges import Range
from flask_forge_jobs.dashboard.charts.small import Spark, spark
from flask_forge_jobs.dashboard.queue_rows import QueueRow, QueueState, ahead
from flask_forge_jobs.handlers.gauges import GaugeSeries
from flask_forge_jobs.handlers.series import Bucket
from flask_forge_jobs.model.durations import duration
from flask_forge_jobs.model.proportions import FEW_RUNS, Failures
from flask_forge_jobs.model.sentences import count

T = TypeVar("T")
Values = Sequence[float | None]
_RECENT = 3
# Ranges that the page of errors has as well, beside its usual one.
_LONG = {"7d", "30d"}
_NEAR = 0.02
# From here on a number of times says it shorter than a share.
_MANY_TIMES = 3
_STATES: Mapping[QueueState, str] = {
    QueueState.PAUSED: "paused",
    QueueState.COOLING: "cools down",
    QueueState.WITHOUT_WORKER: "no worker",
    QueueState.WITHOUT_SLOTS: "no slots",
}
_HELD = frozenset({QueueState.PAUSED, QueueState.WITHOUT_SLOTS})


@dataclass(frozen=True, slots=True)
class Tile:
    """One number; ``path`` and ``query`` lead to the list behind it.

    One that counts from an instant, ``since``, is shown as its age.
    """

    name: str
    value: str
    note: str
    spark: Spark
    colour: str
    path: str
    unit: str = ""
    tone: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    since: datetime | None = None


class Gauged(NamedTuple):
    """What waited and ran, over all queues of the caller."""

    waiting: Values = ()
    oldest_wait_s: Values = ()
    running: Values = ()
    workers: Values = ()


def gauged(series: Sequence[GaugeSeries]) -> Gauged:
    """Return queues added up; of waits and workers, the largest."""
    return Gauged(
        _merged([each.waiting for each in series], sum),
        _merged([each.oldest_wait_s for each in series], max),
        _merged([each.running for each in series], sum),
        _merged([each.live_workers for each in series], max),
    )


def tiles(
    shown: Range,
    buckets: Sequence[Bucket],
    rows: Sequence[QueueRow],
    history: Gauged,
    *,
    workers: int,
    capacity: int,
    served: Collection[str] = (),
    counts: Mapping[str, int] | None = None,
) -> list[Tile]:
    """Return the six tiles; at most ``capacity`` jobs run at once.

    ``served`` queues have a worker, also if they are paused or without slots.

    ``counts`` are the jobs of all queues by state as of the rest of the page, and those
    that are ``running`` in slots; None takes those of the rows.
    """
    if counts is None:
        counts = {
            "pending": sum(row.counts.pending for row in rows),
            "in_progress": sum(row.counts.in_progress for row in rows),
            "running": sum(row.busy for row in rows),
        }
    ended = closed(shown, buckets)
    history = Gauged(*(closed(shown, each) for each in history))
    return [
        _throughput(shown, ended),
        _failures(shown, ended),
        _waiting(rows, history, counts["pending"]),
        _oldest(rows, history, counts["pending"]),
        _running(history, capacity, counts, workers),
        _workers(rows, history, workers, served),
    ]


def pace(shown: Range, buckets: Sequence[Bucket]) -> float | None:
    """Return the jobs per minute that the first tile shows; None without figures."""
    return _pace(_rates(shown, closed(shown, buckets)))


def closed(shown: Range, buckets: Sequence[T]) -> Sequence[T]:
    """Return the buckets without the open one, which has a part of its figures."""
    return buckets[:-1] if shown.span.is_open else buckets


def _rates(shown: Range, buckets: Sequence[Bucket]) -> Values:
    return [
        None if (passed := shown.minutes(number)) is None else each.completed / passed
        for number, each in enumerate(buckets)
    ]


def _pace(rates: Values) -> float | None:
    late = [rate for rate in rates if rate is not None][-_RECENT:]
    return sum(late) / len(late) if late else None


def _throughput(shown: Range, buckets: Sequence[Bucket]) -> Tile:
    rates = _rates(shown, buckets)
    known = [rate for rate in rates if rate is not None]
    now = _pace(rates)
    usual = sum(known) / len(known) if known else 0
    note = "no job completed"
    if now is not None and usual:
        empty = next(place for place, rate in enumerate(reversed(known)) if rate)
        late = f"none for {duration(shown.width_s * empty)}"
        note = f"{_compared(now / usual)}, {_window(shown)}" if now else late
    return Tile(
        "Throughput", words.number(now, 1), note, spark(rates),
        "green" if usual else "ink", "kinds", "/min",
    )  # fmt: skip


def _compared(ratio: float) -> str:
    if abs(ratio - 1) < _NEAR:
        return "as usual"
    if ratio >= _MANY_TIMES:
        return f"{words.number(ratio)} times the usual"
    part = words.percent(abs(ratio - 1))
    return f"{part} {'above' if ratio > 1 else 'below'} usual"


def _window(shown: Range) -> str:
    return "this range" if shown.is_custom else shown.words.lower()


def _failures(shown: Range, buckets: Sequence[Bucket]) -> Tile:
    ended = [
        Failures(failed := each.dead + each.retried, failed + each.completed)
        for each in buckets
    ]
    shares = [each.share if each.runs else None for each in ended]
    known = [each for each in shares if each is not None]
    whole = Failures(
        sum(each.failed for each in ended), sum(each.runs for each in ended)
    )
    query = {"range": shown.preset} if shown.preset in _LONG else {}
    if 0 < whole.runs < FEW_RUNS:
        return Tile(
            "Failures", words.number(whole.failed), _window(shown), spark(()), "red",
            "errors", f"of {count(whole.runs, 'run')}", query=query,
        )  # fmt: skip
    usual = median(known) if known else 0
    note = (
        f"{_window(shown)}, usually {words.percent(usual)}" if known else "no run ended"
    )
    shown_share = words.percent(whole.share if known else None)
    tone, colour = ("bad", "red") if whole.stands_out(usual) else ("", "ink")
    return Tile(
        "Failures", shown_share, note, spark(shares), colour, "errors",
        tone=tone, query=query,
    )  # fmt: skip


def _waiting(rows: Sequence[QueueRow], history: Gauged, due: int) -> Tile:
    longest = max(rows, key=lambda row: row.counts.pending, default=None)
    note = "none"
    if due and longest and longest.counts.pending:
        note = f"{words.number(min(longest.counts.pending, due))} in {longest.name}"
    return Tile(
        "Waiting", words.number(due), note, spark(history.waiting), "ink", "jobs",
        query={"status": "pending"},
    )  # fmt: skip


def _oldest(rows: Sequence[QueueRow], history: Gauged, due: int) -> Tile:
    oldest = max(rows, key=lambda row: row.oldest_s or 0, default=None)
    drawn = spark(history.oldest_wait_s)
    if oldest is None or not oldest.oldest_s:
        note = "" if due else "no due job"
        value = words.oldest(0, due)
        return Tile("Oldest wait", value, note, drawn, "amber", "queues")
    state = _STATES.get(oldest.state)
    note = f"{oldest.name}, {state}" if state else oldest.name
    tone = "bad" if oldest.is_behind else ""
    return Tile(
        "Oldest wait", words.span(oldest.oldest_s), note, drawn, "amber", "queues",
        tone=tone, since=oldest.due_since,
    )  # fmt: skip


def _running(
    history: Gauged, capacity: int, counts: Mapping[str, int], workers: int
) -> Tile:
    claimed = counts["in_progress"]
    busy = min(counts["running"], claimed)
    note = f"{words.percent(busy / capacity)} of all slots" if capacity else "no slots"
    note = ahead(claimed - busy, is_served=workers > 0) or note
    return Tile(
        "Busy slots", words.number(busy), note, spark(history.running), "blue", "jobs",
        f"of {words.number(max(capacity, busy))}", query={"status": "in_progress"},
    )  # fmt: skip


def _workers(
    rows: Sequence[QueueRow], history: Gauged, workers: int, served: Collection[str]
) -> Tile:
    unserved = sum(
        row.state is QueueState.WITHOUT_WORKER
        # The state of a row does not say whether a worker serves it.
        or (row.state in _HELD and row.name not in served)
        for row in rows
    )
    note = (
        f"{count(unserved, 'queue')} without one"
        if unserved
        else (f"{count(len(rows), 'queue')} served" if workers else "none is running")
    )
    return Tile(
        "Workers", words.number(workers), note, spark(history.workers), "ink",
        "workers", "live", "" if workers else "bad",
    )  # fmt: skip


def _merged(columns: Sequence[Values], add: Callable[[list[float]], float]) -> Values:
    merged: list[float | None] = []
    for row in zip(*columns, strict=True):
        known = [value for value in row if value is not None]
        merged.append(add(known) if known else None)
    return merged
