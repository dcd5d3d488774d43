"""The past week of the shop: its figures, gauges, samples and failures.

They are stored as the figures of a week that has passed would be: in buckets of each
width for as long as that width is kept. Of the jobs themselves, :mod:`.past` runs some.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache

from flask_forge_jobs.demo.flows import (
    FLOWS,
    OF_QUEUES,
    PAUSED_FOR_US,
    REACH_H,
    SLOTS,
    WEEK_H,
    WORKERS,
    Flow,
    Sums,
    daylight,
    is_slow_at,
    noise_of,
    starts_of,
    sums_of,
)
from flask_forge_jobs.demo.shop import HOUR_US, LEDGER
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

# Failures are kept by hour for a day, and by day.
_HOUR_S, _DAY_S = 3600, 86_400
_HOURS_BY_HOUR, _DAYS_BEFORE = 23.0, 6


def fill(storage: Storage, now_us: int) -> None:
    """Store the past week, up to this instant."""
    storage.metrics.register_names(
        MetricKey(0, 0, flow.queue_name, flow.kind) for flow in FLOWS
    )
    storage.metrics.append(_metrics(now_us))
    storage.gauges.append(_gauge_rows(now_us))
    storage.database.write(lambda transaction: _put_errors(transaction, now_us))
    for worker_id, load in zip(WORKERS, (0.7, 1.0), strict=True):
        for level in SAMPLE_LEVELS:
            storage.samples.put(worker_id, dict(_samples(level, now_us, load)))


# -- figures of jobs -------------------------------------------------------------------


def _metrics(now_us: int) -> Iterator[Sequence[Parameter]]:
    """Yield the rows, each with its values in the order of the statement."""
    for level in LEVELS:
        for start_us in starts_of(level, REACH_H.get(level, WEEK_H), now_us):
            is_slow = is_slow_at(start_us, now_us)
            for (name, kind), sums in _bucket(level, start_us, now_us).items():
                yield (
                    level, name, kind, start_us, "", sums.enqueued,
                    sums.completed + sums.retried + sums.dead, sums.retried,
                    sums.completed, sums.dead, 0, 0,
                    *_times(name, kind, _rounded(sums.completed), is_slow),
                )  # fmt: skip


def _bucket(level: int, start_us: int, now_us: int) -> dict[tuple[str, str], Sums]:
    by_kind: dict[tuple[str, str], Sums] = {}
    for flow in FLOWS:
        sums = sums_of(flow, level, start_us, now_us)
        if sums.enqueued:
            by_kind[flow.queue_name, flow.kind] = sums
            for name in ("", flow.queue_name):
                by_kind.setdefault((name, ""), Sums()).add(sums)
    return by_kind


# More durations would not move the percentiles, of one kind and of several.
_DRAWN, _DRAWN_OF_ALL = 40, 200


def _rounded(count: int) -> int:
    """Return about the same number, so that few different ones are left."""
    step = 1 << max(count.bit_length() - 4, 0)
    return (count + step // 2) // step * step


@cache
def _times(name: str, kind: str, count: int, is_slow: bool) -> tuple[str, ...]:  # noqa: FBT001
    """Return the times to wait, to run and in all of so many jobs, as they are kept."""
    texts = []
    for values_us, all_of_them in _drawn(name, kind, is_slow):
        whole, rest = divmod(count, len(values_us))
        histogram = Histogram()
        if whole:
            histogram.merge_times(all_of_them, whole)
        step = len(values_us) / max(rest, 1)
        histogram.record_many(values_us[int((n + 0.5) * step)] for n in range(rest))
        texts.append(histogram.encode())
    return tuple(texts)


@cache
def _drawn(
    name: str,
    kind: str,
    is_slow: bool,  # noqa: FBT001
) -> list[tuple[Sequence[int], Histogram]]:
    """Return examples of the times to wait, to run and in all."""
    flows = [flow for flow in OF_QUEUES[name] if kind in ("", flow.kind)]
    per_minute = sum(flow.per_minute for flow in flows)
    limit = _DRAWN_OF_ALL if len(flows) > 1 else _DRAWN
    runs_ms: list[float] = []
    for flow in flows:
        count = max(round(limit * flow.per_minute / per_minute), 1)
        slowness = 4 if is_slow and flow.kind == "charge_card" else 1
        runs_ms += (flow.run_ms * slowness * _spread(n, count) for n in range(count))
    waits_ms = [14 * _spread(n * 7 % limit, limit) ** 2 for n in range(len(runs_ms))]
    totals_ms = [run + wait for run, wait in zip(runs_ms, waits_ms, strict=True)]
    drawn: list[tuple[Sequence[int], Histogram]] = []
    for times_ms in (waits_ms, runs_ms, totals_ms):
        times_us = [int(time_ms * 1000) for time_ms in times_ms]
        histogram = Histogram()
        histogram.record_many(times_us)
        drawn.append((times_us, histogram))
    return drawn


def _spread(number: int, count: int) -> float:
    """Return a factor around 1; one in forty is several times as long."""
    if number % _DRAWN == _DRAWN - 1:
        return 2.6
    return 0.45 + 1.05 * (number + 0.5) / count


# -- the rest --------------------------------------------------------------------------


def _gauge_rows(now_us: int) -> Iterator[Sequence[Parameter]]:
    """Yield the rows, each with its values in the order of the statement."""
    for level in SAMPLE_LEVELS:
        for start_us in starts_of(level, REACH_H.get(level, WEEK_H), now_us):
            for name, each in _gauges(start_us, level // 60, now_us).items():
                yield (
                    level, name, start_us, each.samples, each.waiting,
                    each.oldest_wait_s, each.running, each.free_slots,
                    each.live_workers,
                )  # fmt: skip


def _gauges(start_us: int, samples: int, now_us: int) -> dict[str, Gauges]:
    whole = Gauges()
    by_queue = {"": whole}
    busy = daylight(start_us, now_us) * (3 if is_slow_at(start_us, now_us) else 1)
    since_us = now_us - start_us
    for name, slots in SLOTS.items():
        noise = noise_of(name, start_us)
        load = _LOADS[name] * busy
        oldest_s = int(2 * noise**2 * busy)
        if name == LEDGER and since_us < PAUSED_FOR_US:
            oldest_s = (PAUSED_FOR_US - since_us) // SECOND_US
            by_queue[name] = Gauges(samples, samples * oldest_s // 5, oldest_s)
        else:
            capacity = slots * samples
            running = min(int(samples * load * (0.6 + 0.8 * noise) + noise), capacity)
            waiting = int(samples * load * noise**3 + noise**2)
            by_queue[name] = Gauges(
                samples, waiting, oldest_s, running, capacity - running, samples
            )
        whole.merge(by_queue[name])
    whole.samples, whole.live_workers = samples, len(WORKERS) * samples
    return by_queue


# How many slots a queue needs while the shop is busy.
_LOADS = {
    name: sum(flow.per_minute * flow.run_ms / 60_000 for flow in OF_QUEUES[name])
    for name in SLOTS
}


def _put_errors(transaction: Transaction, now_us: int) -> None:
    errors: list[dict[str, Parameter]] = []
    buckets: list[dict[str, Parameter]] = []
    for flow in FLOWS:
        if not flow.error:
            continue
        key = {
            "signature": signature(flow.error),
            "queue_name": flow.queue_name,
            "kind": flow.kind,
        }
        failures = _failures(flow, now_us)
        buckets += [
            {"width_s": width_s, **key, "bucket_start": start_us, "failures": count}
            for (width_s, start_us), count in failures.items()
        ]
        in_all = sum(
            count for (width_s, _), count in failures.items() if width_s == _DAY_S
        )
        # The jobs that have failed since are the examples.
        errors.append(
            {
                **key, "failures": in_all,
                "first_at": now_us - 7 * DAY_US, "last_at": now_us - 21 * HOUR_US,
                "retrying": 0, "dead": 0, "job_id": None, "message": flow.error,
            }
        )  # fmt: skip
    transaction.run("add_errors", rows=encode_rows(errors))
    transaction.run("add_error_buckets", rows=encode_rows(buckets))


def _failures(flow: Flow, now_us: int) -> Counter[tuple[int, int]]:
    """Return the failures by width and start; the last days sum up their hours."""

    def failures(width_s: int, start_us: int) -> int:
        sums = sums_of(flow, width_s, start_us, now_us)
        return sums.retried + sums.dead

    kept_us = floor_to(now_us - int(_HOURS_BY_HOUR * HOUR_US), _HOUR_S)
    day_us = floor_to(kept_us, _DAY_S)
    counts: Counter[tuple[int, int]] = Counter()
    for start_us in range(day_us, now_us, HOUR_US):
        count = failures(_HOUR_S, start_us)
        counts[_DAY_S, floor_to(start_us, _DAY_S)] += count
        if start_us >= kept_us:
            counts[_HOUR_S, start_us] = count
    for start_us in range(day_us - _DAYS_BEFORE * DAY_US, day_us, DAY_US):
        counts[_DAY_S, start_us] = failures(_DAY_S, start_us)
    return +counts


def _samples(
    level: int, now_us: int, load: float
) -> Iterator[tuple[tuple[int, int], SampleSums]]:
    megabyte = 2**20
    for start_us in starts_of(level, REACH_H.get(level, WEEK_H), now_us):
        samples = level // 60
        busy, noise = daylight(start_us, now_us), noise_of(f"samples {load}", start_us)
        yield (
            (level, start_us),
            SampleSums(
                samples=samples,
                cpu_pct=samples * (4 + 22 * busy * load * (0.6 + 0.8 * noise)),
                rss_bytes=samples * int((60 + 40 * load + 6 * busy + noise) * megabyte),
                disk_read_bytes=samples * int(0.4 * megabyte * noise),
                disk_write_bytes=samples
                * int(9 * megabyte * busy * (0.7 + 0.6 * noise)),
                disk_used_pct=samples * 41.5,
                db_size_bytes=samples * int((46 + noise) * megabyte),
                wal_bytes=samples * int((3 + noise) * megabyte),
                reads=_calls(round(8 * busy) * 40 * samples, 0.35),
                writes=_calls(round(5 * busy) * 40 * samples, 0.9),
            ),
        )


@cache
def _calls(count: int, milliseconds: float) -> Histogram:
    """Return the times of so many calls of the database."""
    drawn, calls = Histogram(), Histogram()
    drawn.record_many(
        int(1000 * milliseconds * _spread(n, _DRAWN)) for n in range(_DRAWN)
    )
    calls.merge_times(drawn, max(count // _DRAWN, 1))
    encoded = Histogram()
    encoded.merge_text(calls.encode())
    return encoded
