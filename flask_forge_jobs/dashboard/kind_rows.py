"""The table of kinds, or of queues, on the page of metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from flask_forge_jobs.dashboard.charts.small import RangeRow, range_labels, range_row
from flask_forge_jobs.dashboard.charts.ticks import Axis, logarithmic
from flask_forge_jobs.dashboard.parameters import NumberedPage
from flask_forge_jobs.handlers.series import KindRow
from flask_forge_jobs.model.proportions import Failures

DEFAULT_SORT = "-total"
# Rows of a page, beside charts that take 40 kB.
PER_PAGE = 15


@dataclass(frozen=True, slots=True)
class Row:
    """The totals of one kind or queue; ``times`` is None without a completed run.

    ``fails_often`` says that its share of failures stands out beside the others.
    """

    totals: KindRow
    failures: Failures
    fails_often: bool
    mean_ms: float
    times: RangeRow | None


@dataclass(frozen=True, slots=True)
class Rows:
    """A page of rows in order, the labels of their common axis, and its place."""

    rows: Sequence[Row]
    labels: Sequence[tuple[str, str]]
    sort: str
    page: NumberedPage


def checked_sort(sort: str | None) -> str:
    """Return the order of an address; an unknown one is the default."""
    return sort if sort and sort.removeprefix("-") in _KEYS else DEFAULT_SORT


def kind_rows(totals: Sequence[KindRow], sort: str, number: int = 1) -> Rows:
    """Return a page of the rows of totals, and the times of all on one axis.

    ``number`` is that of the page, from 1; a too large one means the last page.
    """
    ended = [row for row in totals if row.completed]
    axis = logarithmic([ms for row in ended for ms in (row.p50_ms, row.p99_ms)])
    shares = [_failures(row).share for row in totals if runs_of(row)]
    usual = median(shares or [0.0])
    ordered = sorted(totals, key=lambda row: row.kind)
    ordered.sort(key=_KEYS[sort.removeprefix("-")], reverse=sort.startswith("-"))
    page = NumberedPage(number, PER_PAGE, len(ordered))
    rows = [_row(row, axis, usual) for row in page.of(ordered)]
    return Rows(rows, range_labels(axis), sort, page)


def _row(row: KindRow, axis: Axis, usual: float) -> Row:
    failures = _failures(row)
    times = range_row(axis, row.p50_ms, row.p95_ms, row.p99_ms)
    return Row(
        row,
        failures,
        failures.stands_out(usual),
        _mean_ms(row),
        times if row.completed else None,
    )


def _failures(row: KindRow) -> Failures:
    return Failures(failures_of(row), runs_of(row))


def _mean_ms(row: KindRow) -> float:
    return row.total_run_ms / row.completed if row.completed else 0.0


def runs_of(row: KindRow) -> int:
    """Return how many runs ended by themselves."""
    return row.completed + row.dead + row.retried


def failures_of(row: KindRow) -> int:
    """Return how many runs failed."""
    return row.dead + row.retried


_KEYS: Mapping[str, Callable[[KindRow], float | str]] = {
    "name": lambda row: row.kind,
    "runs": runs_of,
    "failed": lambda row: _failures(row).share,
    "mean": _mean_ms,
    "p50": lambda row: row.p50_ms,
    "p95": lambda row: row.p95_ms,
    "p99": lambda row: row.p99_ms,
    "total": lambda row: row.total_run_ms,
}
