"""What a chart shows of a bucket, made from the stored rows of a window.

Most buckets have one row, of which only the three charted percentiles are read; adding
up histograms is for the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from flask_forge_jobs.model.histograms import charted_ms, charted_ms_of
from flask_forge_jobs.model.metrics import Tally, Window

Figures = Sequence[int]
"""Jobs enqueued, started, retried, completed, dead and cancelled; the median, 95th and
99th percentile of run, total and wait in milliseconds."""

NO_FIGURES: Figures = (0,) * 15

# Name, start of the bucket, the six counts, and the texts of wait, run and total.
_Row = Sequence[Any]
_Place = tuple[str, int]


def charts(
    rows: Iterable[_Row], window: Window, names: Iterable[str]
) -> dict[str, list[Figures]]:
    """Return the figures of each bucket of a window, by name.

    Args:
        rows: All rows of these names within the window, in any order.
        window: Its buckets are those of the rows, or multiples of them.
        names: Each has buckets, also without rows.
    """
    shown = {name: [NO_FIGURES] * window.count for name in names}
    first: dict[_Place, _Row] = {}
    others: defaultdict[_Place, list[_Row]] = defaultdict(list)
    start_us, width_us = window.start_us, window.width_us
    for row in rows:
        place = row[0], (row[1] - start_us) // width_us
        if first.setdefault(place, row) is not row:
            others[place].append(row)
    for (name, number), row in first.items():
        wait, run, total = row[8:]
        shown[name][number] = (
            *row[2:8], *charted_ms(run), *charted_ms(total), *charted_ms(wait),
        )  # fmt: skip
    for (name, number), rows_of in others.items():
        columns = list(zip(first[name, number], *rows_of, strict=True))
        wait, run, total = columns[8:]
        shown[name][number] = (
            *map(sum, columns[2:8]),
            *charted_ms_of(run), *charted_ms_of(total), *charted_ms_of(wait),
        )  # fmt: skip
    return shown


def figures_of(tally: Tally) -> Figures:
    """Return what a chart shows of a tally."""
    return (
        tally.enqueued,
        tally.started,
        tally.retried,
        tally.completed,
        tally.dead,
        tally.cancelled,
        *tally.run.charted_ms(),
        *tally.total.charted_ms(),
        *tally.wait.charted_ms(),
    )


def add_row(tally: Tally, figures: Sequence[Any]) -> None:
    """Add the counts of a stored row and its texts of wait, run and total."""
    enqueued, started, retried, completed, dead, cancelled, *times = figures
    wait, run, total = times
    tally.enqueued += enqueued
    tally.started += started
    tally.retried += retried
    tally.completed += completed
    tally.dead += dead
    tally.cancelled += cancelled
    tally.wait.merge_text(wait)
    tally.run.merge_text(run)
    tally.total.merge_text(total)
