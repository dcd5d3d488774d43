"""The timeline of a job: a row for each attempt, all on one scale of time.

A row consists of marks: a dotted line waits for its time, a plain line waits for a
slot, a bar runs, a dashed box is to come. A wait that would take more than 60 % of the
width is cut, so that the runs beside it stay visible.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise

from flask_forge_jobs.dashboard import words
from flask_forge_jobs.model.attempts import Attempt, AttemptEnding
from flask_forge_jobs.model.durations import duration
from flask_forge_jobs.model.instants import MICROSECOND, from_micros, to_micros
from flask_forge_jobs.model.jobs import WAITING, JobSummary

# Shares of the width: of the longest wait, and what it is cut to.
LONGEST_WAIT = 0.6
CUT_WAIT = 0.4
NARROWEST_BAR = 0.8
# Of the width, in percent.
WHOLE = 100.0
LABELS = 5
# The first attempt and the newest; the others are folded.
OPEN_ROWS = 12
# A run to come, if nothing is known of earlier ones.
_UNKNOWN_RUN = timedelta(seconds=1)
_MINUTES = timedelta(hours=1)  # labels of it are 15 minutes apart
# Below it, labels of whole seconds would be equal.
_SECONDS = timedelta(seconds=8)
# The shortest distance that has a label of its own.
_SHOWN_S = 0.0001
_DAY = timedelta(days=1)


class Mark(StrEnum):
    """The form of a mark, which is also its class in the page."""

    BACKS_OFF = "bo"
    FOR_JOBS = "fj"
    WAITS = "wt"
    RUNS = "run"
    COMES = "nx"


@dataclass(frozen=True, slots=True)
class Span:
    """One mark; ``start`` and ``width`` in percent, ``cut`` where time is left out."""

    mark: Mark
    start: str
    width: str
    end: str
    cut: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """An attempt, or the one to come, of which ``attempt`` is None.

    ``is_due`` says that the one to come waits for nothing but a slot, ``waits`` that it
    waits for other jobs, since ``starts_at``.
    """

    number: int
    attempt: Attempt | None
    spans: Sequence[Span] = ()
    starts_at: datetime | None = None
    is_due: bool = False
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Label:
    """A label of the axis; ``at`` is its place in percent."""

    text: str
    at: str


@dataclass(frozen=True, slots=True)
class Sums:
    """Milliseconds that the attempts took in all, by what passed meanwhile."""

    total: int
    running: int
    waiting: int
    backing_off: int
    for_jobs: int = 0

    @property
    def words(self) -> str:
        """The sums in words, those of nothing left out."""
        parts = (
            (self.running, "running"),
            (self.waiting, "waiting for a slot"),
            (self.backing_off, "waiting for its time"),
            (self.for_jobs, "waiting for other jobs"),
        )
        shown = [f"{words.span(ms / 1000)} {what}" for ms, what in parts if ms]
        if len(shown) == 1:
            return shown[0]
        in_all = f"{words.span(self.total / 1000)} in all"
        return f"{in_all}: {', '.join(shown)}" if shown else in_all


@dataclass(frozen=True, slots=True)
class Timeline:
    """All rows, the place of the present in percent (None: outside), and the axis."""

    rows: Sequence[Row]
    now: str | None
    labels: Sequence[Label]
    sums: Sums
    is_cut: bool

    @property
    def earlier(self) -> Sequence[Row]:
        """Rows between the first and the newest, which are folded."""
        return self.rows[1 : 1 - OPEN_ROWS] if len(self.rows) > OPEN_ROWS else ()

    @property
    def shown(self) -> Sequence[Row]:
        """The first row and the newest."""
        if len(self.rows) <= OPEN_ROWS:
            return self.rows
        return (self.rows[0], *self.rows[1 - OPEN_ROWS :])


@dataclass(slots=True)
class _Piece:
    """A mark in time."""

    mark: Mark
    start: int
    end: int


# A row without its spans, and the pieces of these.
_Line = tuple[Row, list[_Piece]]


def _pieces(*marks: tuple[Mark, int, int]) -> list[_Piece]:
    """Return marks from their start to their end; a run may take no time."""
    return [
        _Piece(mark, start, max(start, end))
        for mark, start, end in marks
        if end > start or mark in (Mark.RUNS, Mark.COMES)
    ]


def timeline(
    job: JobSummary,
    attempts: Sequence[Attempt],
    now: datetime,
    run: timedelta | None = None,
    *,
    waits: bool = False,
    has_waited: bool = False,
) -> Timeline | None:
    """Return the timeline of a job; None if it has neither attempts nor a future.

    Args:
        job: The job.
        attempts: Its attempts, the oldest first.
        now: The present.
        run: How long the run under way, or the next one, is expected to take.
        waits: Whether it waits for other jobs.
        has_waited: Whether it has waited for others before its first attempt.
    """
    lines = list(_lines(job, attempts, to_micros(now), run, waits=waits))
    if not lines:
        return None
    if has_waited or waits:
        _rename(lines[0][1])
    pieces = [piece for _, of_row in lines for piece in of_row]
    scale = _Scale(pieces, may_cut=_has_run(lines))
    now_us = to_micros(now)
    return Timeline(
        [replace(row, spans=_spans(of_row, scale)) for row, of_row in lines],
        _percent(scale.at(now_us)) if scale.start <= now_us <= scale.end else None,
        scale.labels(),
        _sums(pieces, now_us),
        bool(scale.cuts),
    )


def _has_run(lines: Sequence[_Line]) -> bool:
    """Whether the runs made, and not one that is guessed, are worth the width."""
    pieces = [(row.attempt, piece) for row, of_row in lines for piece in of_row]
    made = [p.end - p.start for _, p in pieces if p.mark is Mark.RUNS]
    guessed = [p.end - p.start for at, p in pieces if not at and p.mark is Mark.COMES]
    return bool(made) and sum(made) >= sum(guessed)


def _rename(pieces: list[_Piece]) -> None:
    """Let the first wait of a job be one for other jobs."""
    for piece in pieces[:1]:
        if piece.mark is Mark.BACKS_OFF:
            piece.mark = Mark.FOR_JOBS


def _lines(
    job: JobSummary,
    attempts: Sequence[Attempt],
    now: int,
    run: timedelta | None,
    *,
    waits: bool,
) -> Iterator[_Line]:
    last = to_micros(job.enqueued_at)
    expected = None if run is None else max(run // MICROSECOND, 1)
    longest = 0
    for attempt in attempts:
        due, started = to_micros(attempt.due_at), to_micros(attempt.started_at)
        ended = now if attempt.ended_at is None else to_micros(attempt.ended_at)
        started = max(started, min(last, due))
        ended = max(ended, started)
        due = min(max(due, last), started)
        marks = [
            (Mark.BACKS_OFF, last, due),
            (Mark.WAITS, due, started),
            (Mark.RUNS, started, ended),
        ]
        if attempt.ending is AttemptEnding.RUNNING and expected is not None:
            marks.append((Mark.COMES, ended, max(started + expected, ended)))
        longest = max(longest, ended - started)
        last = ended
        yield Row(attempt.attempt, attempt), _pieces(*marks)
    if job.status in WAITING:
        length = expected or longest or _UNKNOWN_RUN // MICROSECOND
        yield (
            _unfree(job, last, now, length) if waits else _next(job, last, now, length)
        )


def _unfree(job: JobSummary, last: int, now: int, run: int) -> _Line:
    """Return the attempt of a job that waits for others."""
    row = Row(job.attempts + 1, None, starts_at=from_micros(last), waits=True)
    start = max(last, now)
    return row, _pieces((Mark.BACKS_OFF, last, start), (Mark.COMES, start, start + run))


def _next(job: JobSummary, last: int, now: int, run: int) -> _Line:
    """Return the attempt that the job waits for."""
    due = max(to_micros(job.scheduled_at), last)
    is_due = to_micros(job.scheduled_at) <= now
    row = Row(job.attempts + 1, None, starts_at=job.scheduled_at, is_due=is_due)
    start = max(due, now)
    return row, _pieces(
        (Mark.BACKS_OFF, last, due),
        (Mark.WAITS, due, start),
        (Mark.COMES, start, start + run),
    )


class _Scale:
    """Places instants on the width; waits that are too long count for less."""

    def __init__(self, pieces: Sequence[_Piece], *, may_cut: bool) -> None:
        self.start = min(piece.start for piece in pieces)
        self.end = max(self.start + 1, *(piece.end for piece in pieces))
        # By the interval of a wait that is cut, what it counts for.
        self.cuts: dict[tuple[int, int], float] = {}
        waits = {
            (each.start, each.end): float(each.end - each.start)
            for each in pieces
            if each.mark in (Mark.BACKS_OFF, Mark.FOR_JOBS, Mark.WAITS)
        }
        if may_cut:
            self._cut(waits)
        edges = {self.start, self.end, *(edge for cut in self.cuts for edge in cut)}
        self._edges = sorted(edges)
        self._places = [0.0]
        for before, after in pairwise(self._edges):
            self._places.append(self._places[-1] + self._size(before, after))

    def _cut(self, waits: dict[tuple[int, int], float]) -> None:
        """Shorten the longest wait until none takes too much; each at most twice."""
        whole = float(self.end - self.start)
        for _ in range(2 * len(waits)):
            longest = max(waits, key=waits.__getitem__)
            others = whole - waits[longest]
            if waits[longest] <= LONGEST_WAIT * whole or others <= 0:
                return
            waits[longest] = others * CUT_WAIT / (1 - CUT_WAIT)
            self.cuts[longest] = waits[longest]
            whole = others + waits[longest]

    def _size(self, before: int, after: int) -> float:
        size = float(after - before)
        for (start, end), counted in self.cuts.items():
            if start <= before and after <= end:
                size *= counted / (end - start)
        return size

    def at(self, instant: int) -> float:
        """Return the place of an instant in percent."""
        instant = min(max(instant, self.start), self.end)
        for index, (before, after) in enumerate(pairwise(self._edges)):
            if instant <= after:
                part = (instant - before) / (after - before)
                low, high = self._places[index : index + 2]
                return WHOLE * (low + part * (high - low)) / self._places[-1]
        return WHOLE

    def _instant(self, share: float) -> int:
        place = share * self._places[-1]
        for index, (before, after) in enumerate(pairwise(self._edges)):
            low, high = self._places[index : index + 2]
            if place <= high and high > low:
                return before + int((place - low) / (high - low) * (after - before))
        return self.end

    def labels(self) -> Sequence[Label]:
        """Return evenly spaced labels with the instants at their places."""
        whole = (self.end - self.start) * MICROSECOND
        shares = [index / (LABELS - 1) for index in range(LABELS)]
        instants = [from_micros(self._instant(share)) for share in shares]
        form = "%H:%M:%S" if whole < _MINUTES else "%H:%M"
        dated = f"%-d %b {form}"
        # A day that is not over within the axis is named once.
        following = dated if whole >= _DAY else form
        is_dated = instants[0].date() != instants[-1].date()
        forms = [dated if is_dated else form, *[following] * (LABELS - 1)]
        texts = [at.strftime(each) for at, each in zip(instants, forms, strict=True)]
        # Where a wait is cut, the rest may cover less than a minute.
        if len(set(texts)) < LABELS and whole >= _MINUTES:
            seconds = [f":{at:%S}" for at in instants]
            texts = [a + b for a, b in zip(texts, seconds, strict=True)]
        if whole < _SECONDS:
            # The distances to the first: clocks of a few milliseconds would be equal.
            first = instants[0]
            passed = [(at - first).total_seconds() for at in instants[1:]]
            after = [f"+{duration(s)}" if s >= _SHOWN_S else "" for s in passed]
            texts = [f"{first:%H:%M:%S.%f}"[:-3], *after]
        texts = ["" if at in texts[:n] else at for n, at in enumerate(texts)]
        return [
            Label(text, _percent(WHOLE * share))
            for text, share in zip(texts, shares, strict=True)
        ]

    def cut_in(self, piece: _Piece) -> str | None:
        """Return where the break mark of a wait stands; None if it is whole."""
        if (piece.start, piece.end) not in self.cuts:
            return None
        return _percent((self.at(piece.start) + self.at(piece.end)) / 2)


def _spans(pieces: Sequence[_Piece], scale: _Scale) -> Sequence[Span]:
    spans = []
    for piece in pieces:
        start, end = scale.at(piece.start), scale.at(piece.end)
        if piece.mark in (Mark.RUNS, Mark.COMES):
            start = min(start, WHOLE - NARROWEST_BAR)
            end = max(end, start + NARROWEST_BAR)
        spans.append(
            Span(
                piece.mark,
                _percent(start),
                _percent(end - start),
                _percent(end),
                scale.cut_in(piece),
            )
        )
    return spans


def _sums(pieces: Sequence[_Piece], now: int) -> Sums:
    def total(mark: Mark) -> int:
        us = sum(min(p.end, now) - min(p.start, now) for p in pieces if p.mark is mark)
        return us // 1000

    marks = (Mark.RUNS, Mark.WAITS, Mark.BACKS_OFF, Mark.FOR_JOBS)
    parts = [total(mark) for mark in marks]
    return Sums(sum(parts), *parts)


def _percent(place: float) -> str:
    return f"{place:.2f}%"
