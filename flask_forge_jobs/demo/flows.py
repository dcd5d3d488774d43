"""The flows of jobs through the shop in the past week: how many, how long, how bad."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from flask_forge_jobs.demo.shop import (
    BROKEN,
    DECLINED,
    HOUR_US,
    LEDGER,
    RESET,
    TIMEOUT,
    mixed,
)
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.metrics import floor_to

# How far back a width reaches, in hours: as far as the charts that read it, or a week.
REACH_H: Mapping[int, float] = {10: 4.2, 60: 25, 300: 126}
WEEK_H = 168.0
WORKERS = ("worker-1", "media-1")


@dataclass(frozen=True, slots=True)
class Flow:
    """The jobs of one kind.

    Args:
        queue_name: Its queue.
        kind: Its name.
        per_minute: How many a minute while the shop is busy.
        run_ms: How long they run.
        failing: The share that fails and is tried again.
        dying: The share that ends as dead.
        error: The most common error.
    """

    queue_name: str
    kind: str
    per_minute: float
    run_ms: float
    failing: float = 0.0
    dying: float = 0.0
    error: str = ""


# As many as the orders of :func:`.shop.jobs_of` have, one a second.
FLOWS = (
    Flow(
        "orders", "charge_card", 26.7, 280, TIMEOUT, DECLINED,
        "GatewayTimeoutError: cards.shop.example: no answer within 10 s",
    ),
    Flow("orders", "close_order", 2, 52),
    Flow(LEDGER, "write_entry", 12, 28),
    Flow(
        "mail", "send_receipt", 60, 72, RESET,
        error="ConnectionResetError: smtp.shop.example: connection reset by peer",
    ),
    Flow(
        "media", "resize_image", 15, 760, 0, BROKEN,
        "BrokenPicture: order 1042: the file is truncated",
    ),
    Flow(
        "media", "transcode_video", 0.86, 43_000, 0.02, 0.002,
        "TimeoutError: the encoder has not answered for 30 s",
    ),
    Flow("search", "index_product", 60, 26),
    Flow(
        "reports", "build_report", 0.064, 8500, 0, 1 / 7,
        "WarehouseBusyError: warehouse.shop.example: closed for copying tables",
    ),
    Flow("reports", "count_city", 12.5, 2750),
    Flow("reports", "send_report", 0.25, 101),
)  # fmt: skip
OF_QUEUES: Mapping[str, Sequence[Flow]] = {
    name: [flow for flow in FLOWS if name in ("", flow.queue_name)]
    for name in ("", *sorted({flow.queue_name for flow in FLOWS}))
}
# Of each queue.
SLOTS = {"orders": 3, LEDGER: 2, "mail": 3, "media": 3, "search": 2, "reports": 1}
# Since when nothing writes entries, so that orders cannot be closed.
PAUSED_FOR_US = 40 * 60 * SECOND_US
# The shop is busiest, and this is its hour, when the demo begins.
_HOUR_AT_THE_BEGINNING = 14.5
# The card gateway was slow two days ago, for three hours.
_SLOW_US = (50 * HOUR_US, 47 * HOUR_US)
_FAILING_WHILE_SLOW = 0.3


@dataclass(slots=True)
class Sums:
    """Jobs of a bucket, and how their runs ended."""

    enqueued: int = 0
    retried: int = 0
    completed: int = 0
    dead: int = 0

    def add(self, other: Sums) -> None:
        """Add those of another flow."""
        self.enqueued += other.enqueued
        self.retried += other.retried
        self.completed += other.completed
        self.dead += other.dead


def sums_of(flow: Flow, level: int, start_us: int, now_us: int) -> Sums:
    """Return the jobs of a bucket, as far as it is over."""
    since_us = now_us - start_us
    minutes = min(level, since_us / SECOND_US) / 60
    # Over a long time, more and less even out.
    swing = max(min((60 / level) ** 0.5, 1), 0.3)
    noise = (noise_of(f"{flow.kind}{level}", start_us) - 0.5) * swing
    expected = flow.per_minute * _busy(level, start_us, now_us) * minutes
    count = int(expected * (1 + 0.3 * noise) + noise_of(flow.kind, start_us + 1))
    if flow.kind in _STOPPED:
        stopped = round(count * _part_while_paused(start_us, level, now_us))
        dead = stopped if flow.kind == "close_order" else 0
        return Sums(count, completed=count - stopped, dead=dead)
    failing = flow.failing
    if flow.kind == "charge_card" and is_slow_at(start_us, now_us):
        failing = _FAILING_WHILE_SLOW
    retried = _some(count * failing * (1 + noise), flow.kind, start_us)
    dead = _some(count * flow.dying, flow.kind, start_us)
    return Sums(count, retried, count - dead, dead)


@lru_cache(maxsize=1)  # all flows of a bucket come one after the other
def _busy(level: int, start_us: int, now_us: int) -> float:
    """Return how busy the shop is in a bucket: of one of hours, their mean so far."""
    end_us = min(start_us + level * SECOND_US, now_us)
    hours = range(start_us, end_us, HOUR_US)
    return sum(daylight(each_us, now_us) for each_us in hours) / len(hours)


# Without entries, orders cannot be closed.
_STOPPED = ("write_entry", "close_order")


def _part_while_paused(start_us: int, level: int, now_us: int) -> float:
    length_us = min(level * SECOND_US, now_us - start_us)
    paused_us = start_us + length_us - (now_us - PAUSED_FOR_US)
    return min(max(paused_us / length_us, 0), 1)


def _some(expected: float, kind: str, start_us: int) -> int:
    """Return a whole number that is the expected one on average."""
    # Most kinds never fail in one of the two ways.
    return int(expected + noise_of(f"some {kind}", start_us)) if expected else 0


def daylight(at_us: int, now_us: int) -> float:
    """Return how busy the shop is: least at four in the morning, less on Sundays."""
    hours = _HOUR_AT_THE_BEGINNING + (at_us - now_us) / HOUR_US
    is_sunday = math.floor(hours / 24) == _SUNDAY
    day = (0.55 - 0.45 * math.cos((hours - 4) / 24 * 2 * math.pi)) / _BUSIEST
    return day * (0.6 if is_sunday else 1)


_SUNDAY = -3
_BUSIEST = 0.55 - 0.45 * math.cos((_HOUR_AT_THE_BEGINNING - 4) / 24 * 2 * math.pi)


def is_slow_at(at_us: int, now_us: int) -> bool:
    """Whether the card gateway was slow."""
    return _SLOW_US[1] < now_us - at_us < _SLOW_US[0]


def noise_of(salt: str, at_us: int) -> float:
    """Return a number from 0 to 1 that looks random."""
    return mixed(f"{salt}{at_us // SECOND_US}")


def starts_of(level: int, hours: float, now_us: int) -> range:
    """Return when the buckets of so many hours begin, until now."""
    first = floor_to(now_us - int(hours * HOUR_US), level)
    return range(first, now_us, level * SECOND_US)
