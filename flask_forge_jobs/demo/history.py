"""The past week of the shop: its figures, gauges, samples and failures.

They are stored as the figures of a week that has passed would be: in buckets of each
width for as long as that width is kept. The jobs themselves are gone, as if they had
been deleted after a day.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

from flask_forge_jobs.demo.shop import LEDGER
from flask_forge_jobs.model.gauges import Gauges
from flask_forge_jobs.model.histograms import Histogram
from flask_forge_jobs.model.instants import DAY_US, SECOND_US
from flask_forge_jobs.model.metrics import (
    LEVELS,
    SAMPLE_LEVELS,
    MetricKey,
    SampleSums,
    floor_to,
)
from flask_forge_jobs.model.signatures import signature
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.database import Parameter, Transaction, encode_rows

HOUR_US = 3600 * SECOND_US
# How far back a width reaches, in hours: as far as the charts that read it, or a week.
REACH_H: Mapping[int, float] = {10: 3.2, 60: 25, 300: 96}
WEEK_H = 168.0
WORKER = "demo"
# Rows of one statement, for which the database parses one text.
ROWS = 4000


@dataclass(frozen=True, slots=True)
class Flow:
    """The jobs of one kind: how many a minute at noon, and how long they run."""

    queue_name: str
    kind: str
    per_minute: float
    run_ms: float
    failing: float = 0.0


FLOWS = (
    Flow("orders", "charge_card", 26, 310, 0.05),
    Flow("orders", "close_order", 4, 60, 0.002),
    Flow(LEDGER, "write_entry", 24, 45),
    Flow("mail", "send_receipt", 55, 75, 0.04),
    Flow("media", "resize_image", 12, 820, 0.01),
    Flow("media", "transcode_video", 0.6, 38_000, 0.02),
    Flow("search", "index_product", 90, 28),
    Flow("reports", "build_report", 0.2, 8600, 0.03),
)
# Since when nothing writes entries, so that orders cannot be closed.
PAUSED_FOR_US = 55 * 60 * SECOND_US
# The card gateway was slow two days ago, for three hours.
_SLOW_US = (50 * HOUR_US, 47 * HOUR_US)
_DECLINED = "CardDeclinedError: order 1042: declined by the bank, code 51"
_RESET = "ConnectionResetError: smtp.shop.example: connection reset by peer"
_LATE = "TimeoutError: the task took longer than 120 s"
# And how often an hour at noon.
_ERRORS = (
    ("orders", "charge_card", _DECLINED, 60),
    ("mail", "send_receipt", _RESET, 90),
    ("media", "transcode_video", _LATE, 1),
)
# Failures are kept by hour for a day, before that by day.
_HOUR_S, _DAY_S = 3600, 86_400
_HOURS_BY_HOUR = 23.0
_HOURS_OF_A_DAY = 16


def fill(storage: Storage, now_us: int) -> None:
    """Store the past week, up to this instant."""
    rows = list(_metric_rows(now_us))
    storage.metrics.settle(
        MetricKey(0, 0, flow.queue_name, flow.kind) for flow in FLOWS
    )
    for start in range(0, len(rows), ROWS):
        part = encode_rows(rows[start : start + ROWS])
        storage.database.write(partial(_put_metrics, part))
    storage.database.write(lambda transaction: _put_gauges(transaction, now_us))
    storage.database.write(lambda transaction: _put_errors(transaction, now_us))
    for level in SAMPLE_LEVELS:
        storage.samples.put(WORKER, dict(_samples(level, now_us)))


def _put_metrics(rows: str, transaction: Transaction) -> None:
    transaction.run("put_metrics", source="", rows=rows)


# -- figures of jobs -------------------------------------------------------------------


@dataclass(slots=True)
class _Sums:
    enqueued: int = 0
    retried: int = 0
    completed: int = 0
    dead: int = 0

    def row(
        self, key: tuple[int, str, str, int], times: _Times
    ) -> dict[str, Parameter]:
        level, queue_name, kind, start_us = key
        return {
            "level": level,
            "queue_name": queue_name,
            "kind": kind,
            "bucket_start": start_us,
            "enqueued": self.enqueued,
            "started": self.completed + self.retried + self.dead,
            "retried": self.retried,
            "completed": self.completed,
            "dead": self.dead,
            "refused": 0,
            "cancelled": 0,
            "wait_times": times.wait,
            "run_times": times.run,
            "total_times": times.total,
        }

    def add(self, other: _Sums) -> None:
        self.enqueued += other.enqueued
        self.retried += other.retried
        self.completed += other.completed
        self.dead += other.dead


@dataclass(frozen=True, slots=True)
class _Times:
    wait: str
    run: str
    total: str


def _metric_rows(now_us: int) -> Iterator[dict[str, Parameter]]:
    for level in LEVELS:
        for start_us in _starts(level, REACH_H.get(level, WEEK_H), now_us):
            share = min(now_us - start_us, level * SECOND_US) / (level * SECOND_US)
            yield from _bucket(level, start_us, share, now_us)


def _bucket(
    level: int, start_us: int, share: float, now_us: int
) -> Iterator[dict[str, Parameter]]:
    queues: dict[str, _Sums] = {"": _Sums()}
    slowness = _slowness(start_us, now_us)
    for flow in FLOWS:
        sums = _sums(flow, level, start_us, share, now_us)
        if not sums.enqueued:
            continue
        times = _times((flow,), sums.completed, slowness)
        yield sums.row((level, flow.queue_name, flow.kind, start_us), times)
        for name in ("", flow.queue_name):
            queues.setdefault(name, _Sums()).add(sums)
    for name, sums in queues.items():
        if sums.enqueued:
            times = _times(_flows_of(name), sums.completed, slowness)
            yield sums.row((level, name, "", start_us), times)


@cache
def _flows_of(queue_name: str) -> tuple[Flow, ...]:
    """Return the flows of a queue; an empty name means all."""
    return tuple(flow for flow in FLOWS if queue_name in ("", flow.queue_name))


def _sums(flow: Flow, level: int, start_us: int, share: float, now_us: int) -> _Sums:
    noise = _noise(f"{flow.kind}{level}", start_us)
    minutes = share * level / 60
    expected = flow.per_minute * _daylight(start_us) * minutes
    count = int(expected * (0.8 + 0.4 * noise) + _noise(flow.kind, start_us + 1))
    since_us = now_us - start_us
    failed = round(count * flow.failing * (0.5 + noise))
    if flow.kind == "charge_card" and _slowness(start_us, now_us) > 1:
        failed = round(count * 0.3)
    if since_us < PAUSED_FOR_US and flow.queue_name == LEDGER:
        return _Sums(enqueued=count)
    if since_us < PAUSED_FOR_US and flow.kind == "close_order":
        return _Sums(count, 0, count - round(count * 0.6), round(count * 0.6))
    dead = failed // 6
    return _Sums(count, failed - dead, count - dead, dead)


def _daylight(at_us: int) -> float:
    """Return how busy the shop is: least at four in the morning, less on Sundays."""
    hours = at_us / HOUR_US % 24
    is_sunday = at_us // DAY_US % 7 == 3  # noqa: PLR2004  # 1970 began on a Thursday
    day = 0.55 - 0.45 * math.cos((hours - 4) / 24 * 2 * math.pi)
    return day * (0.6 if is_sunday else 1)


def _slowness(at_us: int, now_us: int) -> float:
    since_us = now_us - at_us
    return 4.0 if _SLOW_US[1] < since_us < _SLOW_US[0] else 1.0


def _noise(salt: str, at_us: int) -> float:
    return zlib.crc32(f"{salt}{at_us // SECOND_US}".encode()) / 2**32


# So many durations stand for those of all jobs.
_SHAPE = 100


@cache
def _times(flows: tuple[Flow, ...], count: int, slowness: float) -> _Times:
    """Return the times of so many jobs, of each flow as many as its share."""
    shape = _shape(flows, slowness)
    whole, rest = divmod(count, len(shape))
    some = [shape[place * len(shape) // rest] for place in range(rest)]
    return _Times(*(_encoded(shape, whole, some, part) for part in range(3)))


@cache
def _shape(flows: tuple[Flow, ...], slowness: float) -> Sequence[tuple[int, int, int]]:
    """Return wait, run and both together of typical jobs, in microseconds."""
    in_all = sum(flow.per_minute for flow in flows)
    shape = []
    for flow in flows:
        count = max(round(_SHAPE * flow.per_minute / in_all), 1)
        for number in range(count):
            spread = _spread(number, count)
            wait_us = int(25_000 * slowness**2 * spread**2)
            run_us = int(1000 * flow.run_ms * slowness * spread)
            shape.append((wait_us, run_us, wait_us + run_us))
    return shape


def _encoded(
    shape: Sequence[tuple[int, int, int]],
    times: int,
    more: Sequence[tuple[int, int, int]],
    part: int,
) -> str:
    histogram = Histogram()
    histogram.record_many(each[part] for each in more)
    if times:
        whole = Histogram()
        whole.record_many(each[part] for each in shape)
        histogram.merge_times(whole, times)
    return histogram.encode()


def _spread(number: int, count: int) -> float:
    """Return a factor around 1; a few are several times as long."""
    return 0.6 + 0.5 * (number + 1) / count + (2.5 if number % 19 == 18 else 0)  # noqa: PLR2004


def _starts(level: int, hours: float, now_us: int) -> range:
    first = floor_to(now_us - int(hours * HOUR_US), level)
    return range(first, now_us, level * SECOND_US)


# -- the rest --------------------------------------------------------------------------


def _put_gauges(transaction: Transaction, now_us: int) -> None:
    for level in SAMPLE_LEVELS:
        for start_us in _starts(level, REACH_H.get(level, WEEK_H), now_us):
            rows = encode_rows(_gauges(start_us, level // 60, now_us))
            transaction.run("put_gauges", level=level, from_at=start_us, rows=rows)


def _gauges(start_us: int, samples: int, now_us: int) -> Iterator[dict[str, Parameter]]:
    whole = Gauges()
    busy = _daylight(start_us) * _slowness(start_us, now_us) ** 0.5
    for name in sorted({flow.queue_name for flow in FLOWS}):
        noise = _noise(name, start_us)
        running = round(samples * min(3, 2.2 * busy * noise))
        waiting = round(samples * 3 * busy * noise**3)
        oldest_s = round(4 * noise**2 * busy)
        since_us = now_us - start_us
        if name == LEDGER and since_us < PAUSED_FOR_US:
            oldest_s = (PAUSED_FOR_US - since_us) // SECOND_US
            running, waiting = 0, samples * oldest_s // 3
        each = Gauges(
            samples, waiting, oldest_s, running, 3 * samples - running, samples
        )
        whole.merge(each)
        yield _gauge_row(name, each)
    whole.samples = samples
    yield _gauge_row("", whole)


def _gauge_row(name: str, gauges: Gauges) -> dict[str, Parameter]:
    return {
        "queue_name": name,
        "samples": gauges.samples,
        "waiting": gauges.waiting,
        "oldest_wait_s": gauges.oldest_wait_s,
        "running": gauges.running,
        "free_slots": gauges.free_slots,
        "live_workers": gauges.live_workers,
    }


def _put_errors(transaction: Transaction, now_us: int) -> None:
    errors: list[dict[str, Parameter]] = []
    buckets: list[dict[str, Parameter]] = []
    for queue_name, kind, message, per_hour in _ERRORS:
        key = {"signature": signature(message), "queue_name": queue_name, "kind": kind}
        failures = dict(_failures(kind, per_hour, now_us))
        buckets += [
            {"width_s": width_s, **key, "bucket_start": start_us, "failures": count}
            for (width_s, start_us), count in failures.items()
        ]
        errors.append(
            {
                **key, "failures": sum(failures.values()),
                "first_at": now_us - 7 * DAY_US, "last_at": now_us - 90 * SECOND_US,
                "retrying": 0, "dead": 0, "job_id": None, "message": message,
            }
        )  # fmt: skip
    transaction.run("add_errors", rows=encode_rows(errors))
    transaction.run("add_error_buckets", rows=encode_rows(buckets))


def _failures(
    kind: str, per_hour: float, now_us: int
) -> Iterator[tuple[tuple[int, int], int]]:
    for start_us in _starts(_HOUR_S, _HOURS_BY_HOUR, now_us):
        busy = _daylight(start_us) * (0.7 + 0.6 * _noise(kind, start_us))
        yield (_HOUR_S, start_us), round(per_hour * busy)
    first_hour_us = now_us - int(_HOURS_BY_HOUR * HOUR_US)
    for start_us in _starts(_DAY_S, WEEK_H - 24, floor_to(first_hour_us, _DAY_S)):
        busy = 0.5 + 0.4 * _noise(kind, start_us)
        yield (_DAY_S, start_us), round(per_hour * busy * _HOURS_OF_A_DAY)


def _samples(level: int, now_us: int) -> Iterator[tuple[tuple[int, int], SampleSums]]:
    megabyte = 2**20
    for start_us in _starts(level, REACH_H.get(level, WEEK_H), now_us):
        samples = level // 60
        busy, noise = _daylight(start_us), _noise("samples", start_us)
        writes = Histogram()
        writes.record_many(int(900 * _spread(n, 20) * (0.5 + busy)) for n in range(20))
        yield (
            (level, start_us),
            SampleSums(
                samples=samples,
                cpu_pct=samples * (6 + 30 * busy * (0.6 + 0.8 * noise)),
                rss_bytes=samples * int((88 + 14 * busy + 3 * noise) * megabyte),
                disk_read_bytes=samples * int(0.4 * megabyte * noise),
                disk_write_bytes=samples
                * int(9 * megabyte * busy * (0.7 + 0.6 * noise)),
                disk_used_pct=samples * 41.5,
                db_size_bytes=samples * int((46 + 6 * noise) * megabyte),
                wal_bytes=samples * int(4 * megabyte * noise),
                reads=writes,
                writes=writes,
            ),
        )
