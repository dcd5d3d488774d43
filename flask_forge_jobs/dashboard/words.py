"""Numbers, sizes and times as the pages write them; the script writes them the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from flask_forge_jobs.model.durations import elapsed

NOTHING = "\u2013"  # a dash
_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_FEW = 10
_HOUR_S = 3600
_KIB = 1024
_FAR = timedelta(days=365)
# The ages in sentences of the attention report, and the word before each.
_AGES = {
    "oldest_wait_s": "(?:for|waits)",
    "paused_s": "for",
    "quiet_s": "for",
    "last_seen_s": "seen",
}
_ID = re.compile(r"\b[0-9A-HJKMNP-TV-Z]{19}([0-9A-HJKMNP-TV-Z]{7})\b")


def number(value: float | None, digits: int = 0) -> str:
    """Return a number with thousands separators; a dash for None.

    ``digits`` are those after the point, of numbers below ten.
    """
    if value is None:
        return NOTHING
    if digits and abs(value) < _FEW and round(value, digits) % 1:
        return f"{value:.{digits}f}"
    return f"{value:,.0f}"


def percent(part: float | None) -> str:
    """Return a share of one in percent, with one decimal below ten."""
    if part is None:
        return NOTHING
    return f"{number(part * 100, 1)}%"


def size(count: float | None) -> str:
    """Return a number of bytes, such as ``4.2 MiB``."""
    if count is None:
        return NOTHING
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < _KIB:
            return f"{number(count, 1)} {unit}"
        count /= _KIB
    return f"{number(count, 1)} TiB"


def span(seconds: float | None, units: int = 2) -> str:
    """Return a duration in at most ``units`` units: ``3m 12s``, ``8.4s``, ``122ms``.

    From ten seconds on the rest is left out, as in explanations.
    """
    if seconds is None:
        return NOTHING
    if round(seconds * 1000) < 1000:  # noqa: PLR2004  # milliseconds in a second
        return "0s" if seconds <= 0 else f"{max(round(seconds * 1000), 1)}ms"
    if seconds < _FEW and units > 1:
        return f"{number(seconds, 1)}s"
    return _whole(int(seconds), units)


def oldest(wait_s: int, due: int) -> str:
    """Return how long the oldest of ``due`` jobs waits, known in whole seconds."""
    if wait_s:
        return span(wait_s)
    return "under 1s" if due else "none"


def since(at: datetime, wait_s: int) -> datetime:
    """Return when a wait began that was of so many whole seconds at an instant.

    It is the middle of that second: a page knows the time a little less or more late.
    """
    return at - timedelta(seconds=wait_s + 0.5)


def took(milliseconds: float | None) -> str:
    """Return how long something took: a time below a millisecond is not zero."""
    if milliseconds is None:
        return NOTHING
    return span(milliseconds / 1000) if milliseconds else "<1ms"


def _whole(seconds: int, units: int) -> str:
    parts: list[str] = []
    for unit, width in _UNITS:
        count, seconds = divmod(seconds, width)
        if count:
            parts.append(f"{count}{unit}")
        if parts and (not seconds or not count or len(parts) == units):
            break
    return " ".join(parts) or "0s"


def ago(at: datetime, now: datetime) -> str:
    """Return ``9m ago``, ``1h 12m ago``, ``in 3m 12s`` or ``now``."""
    seconds = int((now - at).total_seconds())
    if seconds > 0:
        return f"{_whole(seconds, 1 if seconds < _HOUR_S else 2)} ago"
    return f"in {_whole(-seconds, 2)}" if seconds else "now"


def is_far(at: datetime, now: datetime) -> bool:
    """Return whether an instant is over a year away: its date says more than an age."""
    return abs(at - now) > _FAR


def date(at: datetime) -> str:
    """Return the date of an instant, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d}"


def age(since: datetime, now: datetime) -> str:
    """Return how long something has lasted: ``2m 4s``."""
    return _whole(max(int((now - since).total_seconds()), 0), 2)


def absolute(at: datetime) -> str:
    """Return an instant with its date, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def stamp(at: datetime) -> str:
    """Return an instant for programs, to the millisecond."""
    text = at.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def with_ages(
    text: str, evidence: Mapping[str, object], at: datetime
) -> Iterator[tuple[str, datetime | None]]:
    """Yield the pieces of a sentence, each age as the instant from which it counts.

    ``evidence`` has the ages as of ``at``, in whole seconds.
    """
    ages: list[tuple[int, int, datetime]] = []
    for key, before in _AGES.items():
        seconds = evidence.get(key)
        if isinstance(seconds, int) and seconds > 0:
            pattern = rf"\b{before} ({re.escape(elapsed(seconds))})(?![^ .;,])"
            ages += [
                (*match.span(1), since(at, seconds))
                for match in list(re.finditer(pattern, text))[-1:]
            ]
    end = 0
    for start, stop, instant in sorted(ages):
        yield text[end:start], None
        yield "", instant
        end = stop
    yield text[end:], None


def natural(name: str) -> list[tuple[int, str]]:
    """Return the key of an order in which ``mail-2`` stands before ``mail-10``."""
    parts = re.split("([0-9]+)", name)
    return [(len(part) if part.isdigit() else 0, part) for part in parts]


def fact(text: str) -> tuple[str, str]:
    """Return the first statement of a sentence, which is shown bold, and the rest."""
    ends = [
        place + len(mark.rstrip())
        for mark in (". ", ": ", " is paused ")
        if (place := text.find(mark)) > 0
    ]
    end = min(ends, default=len(text))
    return text[:end], text[end:]


def short_ids(text: str) -> str:
    """Return a text whose ids are short, as in lists."""
    return _ID.sub(r"…\1", text)


def worker(worker_id: str, name: str | None = None) -> str:
    """Return the name of a worker; without one, the end of its id."""
    return name or short_ids(worker_id)
