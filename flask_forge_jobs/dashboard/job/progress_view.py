"""Progress of a job in numbers: its share, its rate, and the rest that it will take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.progress import finite, read_progress

MAX_MESSAGE = 500
_LONGEST_REST_S = 30 * 86_400
_MAX_WRITTEN_OUT = 1e15


@dataclass(frozen=True, slots=True)
class ProgressView:
    """A report of progress; None stands for whatever it does not tell.

    Attributes:
        done: How much is done.
        total: Of how much.
        percent: 0 to 100, or None without a total.
        message: The task's own words.
        rate: How much a second.
        rest: How long the rest takes at this rate.
        at: When it was reported.
        other: Any other report as JSON text.
    """

    done: str | None
    total: str | None
    percent: int | None
    message: str | None
    rate: str | None
    rest: timedelta | None
    at: datetime | None
    other: object


def progress_view(text: str) -> ProgressView:
    """Return a stored report as it is shown."""
    stored = read_progress(text)
    report = stored.report if isinstance(stored.report, dict) else {}
    done, total = finite(report.get("done")), finite(report.get("total"))
    percent = rest = None
    if done is not None and total is not None and total > 0:
        # Of huge numbers, the product is infinite.
        percent = math.floor(max(min(100.0 * done / total, 100.0), 0.0))
        if stored.rate and stored.rate > 0:
            rest_s = max(float(total) - done, 0.0) / stored.rate
            rest = timedelta(seconds=rest_s) if rest_s < _LONGEST_REST_S else None
    message = report.get("message")
    is_known = done is not None or isinstance(message, str)
    return ProgressView(
        _text(done),
        _text(total),
        percent,
        message[:MAX_MESSAGE] if isinstance(message, str) else None,
        # Of a measured rate, more digits would only flicker.
        None if stored.rate is None else _text(float(f"{stored.rate:.3g}")),
        rest,
        None if stored.at is None else from_micros(stored.at),
        None if is_known else stored.report,
    )


def _text(number: float | None) -> str | None:
    if number is None:
        return None
    whole = isinstance(number, int) or number.is_integer()
    return (
        f"{int(number):,}"
        if whole and abs(number) < _MAX_WRITTEN_OUT
        else f"{number:,.4g}"
    )
