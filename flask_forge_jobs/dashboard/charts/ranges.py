"""The range of time of a page: from its address, and in the links that change it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from flask_forge_jobs.dashboard.charts.figure import Span

# Name, seconds and words of each.
PRESETS: Mapping[str, tuple[int, str]] = {
    "15m": (900, "Last 15 minutes"),
    "1h": (3600, "Last hour"),
    "6h": (21_600, "Last 6 hours"),
    "24h": (86_400, "Last 24 hours"),
    "7d": (604_800, "Last 7 days"),
    "30d": (2_592_000, "Last 30 days"),
}
DEFAULT = "1h"
# The smallest that is not finer than the stored figures; spec section 6 has the others.
_WIDTHS = (15, 30, 60, 300, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400)
MAX_BUCKETS = 100
KEPT = timedelta(days=30)
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
# Of a range, and of the buckets of small charts, which are so many times as wide.
_LEAST_S, _WIDER = 60, 2
# The current bucket is left open until this share of it has passed.
_OPEN_SHARE = 0.25
_FORMATS = (
    "%Y-%m-%dT%H:%M:%S.%fZ",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%dT%H:%MZ",
    "%Y-%m-%dT%H:%M",
)


@dataclass(frozen=True, slots=True)
class Range:
    """A range of time.

    Args:
        preset: Its name, or that of the range before a zoom.
        start: Start of the first bucket.
        end: End of the last bucket.
        width_s: Width of a bucket.
        is_custom: Whether the address has both ends.
        now: The current time.
        default: The preset of an address without one.
    """

    preset: str
    start: datetime
    end: datetime
    width_s: int
    is_custom: bool
    now: datetime
    default: str = DEFAULT

    @property
    def key(self) -> tuple[object, ...]:
        """What the figures of the range depend on."""
        if self.is_custom:
            return self.start, self.end
        return (self.preset,)

    @property
    def span(self) -> Span:
        """The buckets."""
        seconds = (self.end - self.start).total_seconds()
        span = Span(self.start, self.width_s, -int(-seconds // self.width_s))
        return replace(span, is_open=span.end > self.now)

    @property
    def of_samples(self) -> Range:
        """The range in wider buckets, for a small chart of sampled values."""
        return replace(self, width_s=max(_WIDER * self.width_s, _LEAST_S))

    @property
    def words(self) -> str:
        """The range in words."""
        if not self.is_custom:
            return PRESETS[self.preset][1]
        start, end = self.start, self.end
        if start.date() == end.date():
            return f"{start:%Y-%m-%d %H:%M} to {end:%H:%M} UTC"
        return f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"

    def input(self, instant: datetime) -> str:
        """Return an instant as fields of forms have it."""
        return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M}"

    @property
    def is_older_than_kept(self) -> bool:
        """Whether it begins before the figures that are kept."""
        return self.start < self.now - KEPT - timedelta(seconds=self.width_s)

    def minutes(self, number: int) -> float | None:
        """Return how many minutes of a bucket have passed; None if too few.

        At least one, or the bucket: a burst of seconds is no rate a minute.
        """
        share = self.share(number)
        least = min(self.width_s, 60)
        return None if share is None else max(share * self.width_s, least) / 60

    def share(self, number: int) -> float | None:
        """Return the share of a bucket that has passed; None if it is small.

        A rate over a few seconds would jump.
        """
        begin = self.start + timedelta(seconds=number * self.width_s)
        share = min((self.now - begin).total_seconds() / self.width_s, 1.0)
        return share if share >= _OPEN_SHARE else None

    @property
    def query(self) -> dict[str, object]:
        """The parameters of links back to this range; those of None are left out."""
        is_usual = self.preset == self.default
        known: dict[str, object] = {"range": None if is_usual else self.preset}
        if self.is_custom:
            known |= {"from": written(self.start), "to": written(self.end)}
        return known

    def presets(self) -> list[tuple[str, str | None, str, bool]]:
        """Return name, parameter, words and whether it is chosen, of each preset."""
        return [
            (
                name,
                None if name == self.default else name,
                words,
                not self.is_custom and name == self.preset,
            )
            for name, (_, words) in PRESETS.items()
        ]


def chosen(query: Mapping[str, str], now: datetime, default: str = DEFAULT) -> Range:
    """Return the range of an address.

    Args:
        query: Has ``range``, or ``from`` and ``to``; an invalid value is as none.
        now: The current time.
        default: The preset of an address without one.
    """
    preset = query.get("range") or default
    if preset not in PRESETS:
        preset = default
    ends = _ends(query, now)
    if ends is not None:
        start, end = ends
        width_s = bucket_width((end - start).total_seconds())
        return Range(preset, start, end, width_s, True, now, default)
    seconds, _ = PRESETS[preset]
    width_s = bucket_width(seconds)
    last = -(-now.timestamp() // width_s) * width_s
    end = datetime.fromtimestamp(last, UTC)
    start = end - timedelta(seconds=seconds)
    return Range(preset, start, end, width_s, False, now, default)


def bucket_width(seconds: float) -> int:
    """Return the width of at most 100 buckets of a range, of at most 60 days."""
    return next(width for width in _WIDTHS if seconds // width <= MAX_BUCKETS)


def written(instant: datetime) -> str:
    """Return an instant as addresses have it."""
    text = f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return text.replace(":00Z", "Z")


def _ends(query: Mapping[str, str], now: datetime) -> tuple[datetime, datetime] | None:
    start, end = _instant(query.get("from")), _instant(query.get("to"))
    if start is None or end is None or start >= now or end < _FIRST:
        return None
    end = min(end, now.replace(microsecond=0) + timedelta(seconds=1))
    if end - start < timedelta(seconds=_LEAST_S):
        end = start + timedelta(seconds=_LEAST_S)
    start, end = start.replace(microsecond=0), end.replace(microsecond=0)
    longest = 2 * KEPT
    return max(start, end - longest), end


def _instant(text: str | None) -> datetime | None:
    """Return the instant of a text, in UTC; None if it is not one."""
    for form in _FORMATS:
        try:
            return datetime.strptime(text or "", form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None
