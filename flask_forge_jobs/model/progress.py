"""Progress: a task's report, when it was made, and how fast the reports go on.

A worker stores ``{"at": 1790000000000000, "rate": 2.5, "report": {"done": 5}}``. A text
without these keys is a report alone, as a job that runs inline stores it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeGuard

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import shown
from flask_forge_jobs.model.instants import SECOND_US, format_instant, from_micros

# Over a shorter time, two reports say little about the rate.
_LEAST_US = SECOND_US // 2
_STORED = frozenset(("at", "rate", "report"))


def checked_report(
    done: float, total: float | None, message: str | None
) -> dict[str, float | str]:
    """Return a report of ``done`` of ``total``, without values of None.

    Raises:
        InvalidInputError: A number is not finite, the total is negative, or the message
            is not text.
    """
    report: dict[str, float | str] = {"done": _checked_number("done", done)}
    if total is not None:
        report["total"] = _checked_number("total", total)
        if total < 0:
            raise InvalidInputError("total", f"{total} is negative")
    if message is not None:
        if not isinstance(message, str):
            raise InvalidInputError("message", f"{shown(message)} is not text")
        report["message"] = message
    return report


def _checked_number(name: str, value: float) -> float:
    number = finite(value)
    if number is None:
        raise InvalidInputError(name, f"{shown(value)} is not a finite number")
    return number


def finite(value: object) -> float | None:
    """Return a value if it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # an integer that no float can hold
        return None


@dataclass(slots=True)
class ProgressMeter:
    """Keeps the last report of one run, and measures the rate from two at a time."""

    _last: tuple[str, int] | None = None
    _at_us: int = 0
    _done: float | None = None
    _rate: float | None = None

    def keep(self, text: str, at_us: int) -> None:
        """Keep the JSON text of a report that is made at an instant."""
        self._last = text, at_us

    def take(self) -> str | None:
        """Return the text to store of the last report, once; None without a new one."""
        last, self._last = self._last, None
        return None if last is None else self.stamped(*last)

    def stamped(self, text: str, at_us: int) -> str:
        """Return the text to store for a report that was made at an instant."""
        report = json.loads(text)
        self._measure(_done_of(report), at_us)
        # The text is canonical JSON already, and perhaps as deep as is allowed.
        return f'{{"at":{at_us},"rate":{json.dumps(self._rate)},"report":{text}}}'

    def _measure(self, done: float | None, at_us: int) -> None:
        since_us = at_us - self._at_us
        if done is None or self._done is None or done < self._done:
            self._rate = None  # nothing to compare, or another part has begun
        elif since_us < _LEAST_US:
            return
        else:
            # Of huge numbers, it is infinite.
            per_second = (float(done) - self._done) * SECOND_US / since_us
            self._rate = finite(float(f"{per_second:.6g}"))
        self._at_us, self._done = at_us, done


def _done_of(report: object) -> float | None:
    return finite(report.get("done")) if isinstance(report, dict) else None


def report_of(text: str) -> Any:
    """Return the report of a stored text, as the task made it."""
    stored = json.loads(text)
    return stored["report"] if _is_stamped(stored) else stored


class StoredProgress(NamedTuple):
    """A report, when it was made in microseconds since the epoch, and what a second.

    ``at`` and ``rate`` are None if nothing is known of them.
    """

    report: Any
    at: int | None = None
    rate: float | None = None


def read_progress(text: str) -> StoredProgress:
    """Return the parts of a stored text; one that is not JSON is the report itself."""
    try:
        stored = json.loads(text)
    except (ValueError, RecursionError):
        return StoredProgress(text)  # something else damaged the row
    if not _is_stamped(stored):
        return StoredProgress(stored)
    at = stored["at"]
    return StoredProgress(
        stored["report"], at if isinstance(at, int) else None, finite(stored["rate"])
    )


def shown_progress(text: str) -> dict[str, object]:
    """Return a stored text as it is shown: the report, ``at`` and ``rate``.

    A report of ``done`` always has ``total`` and ``message``. One that is not an object
    is shown as ``value``, as is a text that is not JSON. A report's own ``at`` or
    ``rate`` comes first.
    """
    report, at, rate = read_progress(text)
    parts = report if isinstance(report, dict) else {"value": report}
    if "done" in parts:
        parts = {"total": None, "message": None, **parts}
    instant = None if at is None else format_instant(from_micros(at))
    return {"at": instant, "rate": rate, **parts}


def _is_stamped(stored: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(stored, dict) and stored.keys() == _STORED
