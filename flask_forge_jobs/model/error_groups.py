"""Groups of failures with the same signature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from flask_forge_jobs.model.bounds import Choice
from flask_forge_jobs.model.instants import DAY_US, SECOND_US

HOUR_US = 3600 * SECOND_US
MONTH_DAYS = 30


class ErrorRange(Choice):
    """Over which time failures are counted, the current hour or day included."""

    DAY = "24h"
    WEEK = "7d"
    MONTH = "30d"

    @property
    def buckets(self) -> int:
        """How many hours or days it has."""
        return _BUCKETS[self]

    @property
    def width_us(self) -> int:
        """Microseconds of a bucket: an hour in a day, else a day."""
        return HOUR_US if self is ErrorRange.DAY else DAY_US


_BUCKETS = {ErrorRange.DAY: 24, ErrorRange.WEEK: 7, ErrorRange.MONTH: MONTH_DAYS}


class ErrorOrder(Choice):
    """How groups are sorted, the largest or the last first."""

    COUNT = "-count"
    LAST_SEEN = "-last_seen"


class ErrorPosition(NamedTuple):
    """The end of a page: the key of its order, and the signature."""

    key: int
    signature: str


@dataclass(slots=True, kw_only=True)
class ErrorGroup:
    """The failures with one signature.

    Attributes:
        signature: Type and text of their errors without the parts that differ between
            them.
        count: Failures in the range.
        kinds: The kinds of the jobs that failed, sorted.
        queues: Their queues, sorted.
        first_seen: The first failure; more than a month ago if others followed.
        last_seen: The last failure.
        sample_id: The job that failed last; it may be deleted since.
        message: The beginning of its error.
        retrying: Jobs that wait for a retry now.
        dead: Dead jobs now.
        trend: The failures of each hour or day of the range, the oldest first.
        trend_from: When the first hour or day begins.
    """

    signature: str
    count: int
    kinds: Sequence[str]
    queues: Sequence[str]
    first_seen: datetime
    last_seen: datetime
    sample_id: str | None
    message: str | None
    retrying: int
    dead: int
    trend: Sequence[int]
    trend_from: datetime


@dataclass(frozen=True, slots=True)
class ErrorsPage:
    """Groups in order, the end of the page if more follow, and sums of all groups.

    ``total`` is how many there are, ``failures`` their failures in the range, ``fresh``
    how many failed for the first time within the last bucket's width.
    """

    groups: Sequence[ErrorGroup] = field(default_factory=list)
    end: ErrorPosition | None = None
    total: int = 0
    failures: int = 0
    fresh: int = 0


class DeadGroup(NamedTuple):
    """Dead jobs with one signature; ``kind`` is the first of their ``kinds`` by name.

    ``last_at`` is the last failure with it, None if that is unknown.
    """

    signature: str
    dead: int
    last_at: datetime | None
    kinds: int
    kind: str


class DeadGroups(NamedTuple):
    """Signatures of dead jobs, those of the most first, and how many there are."""

    groups: Sequence[DeadGroup]
    total: int


class KindFailures(NamedTuple):
    """Failures of a kind in a queue in a range."""

    queue_name: str
    kind: str
    failures: int


class ErrorDetail(NamedTuple):
    """One group, and its kinds in the range, that with the most failures first."""

    group: ErrorGroup
    kinds: Sequence[KindFailures]
