from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from flask_forge_jobs.errors import InvalidInputError, QueueNotFoundError
from flask_forge_jobs.handlers.series import (
    MAX_NAMES,
    MAX_STORED,
    kinds,
    metric_series,
    series,
    timeline,
    totals,
)
from flask_forge_jobs.model.instants import from_micros, to_micros
from flask_forge_jobs.model.metrics import NOTHING, Tally
from flask_forge_jobs.storage.base import Storage
from tests.support.clocks import START_US
from tests.support.figures import PastProcess

START = from_micros(START_US)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
LATER = START + 10 * MINUTE


@pytest.fixture
def past(storage: Storage) -> PastProcess:
    return PastProcess(storage)


def _timeline(
    storage: Storage, end: datetime = LATER, bucket_secs: int = 60, **more: Any
) -> list[tuple[int, int]]:
    buckets = timeline(
        storage, start=START, end=end, bucket_secs=bucket_secs, now=LATER, **more
    )
    return [(each.enqueued, each.completed) for each in buckets]


# -- the timeline ------------------------------------------------------------------


def test_the_timeline_has_every_bucket(storage: Storage, past: PastProcess) -> None:
    past.runs("mail", "send", [10, 20])
    past.clock.move(125)
    past.runs("bulk", "pack", [30], dead=2, retried=3)

    buckets = timeline(
        storage, start=START, end=START + 4 * MINUTE, bucket_secs=60, now=LATER
    )

    assert [each.at - START for each in buckets] == [n * MINUTE for n in range(4)]
    assert [each.enqueued for each in buckets] == [2, 0, 6, 0]
    assert (buckets[2].started, buckets[2].completed) == (6, 1)
    assert (buckets[2].dead, buckets[2].retried) == (2, 3)


def test_times_are_whole_milliseconds(storage: Storage, past: PastProcess) -> None:
    past.runs("mail", "send", [100] * 98 + [1000, 1000])

    [bucket] = timeline(
        storage, start=START, end=START + MINUTE, bucket_secs=60, now=LATER
    )

    assert bucket.run_p50_ms == pytest.approx(100, rel=0.02)
    assert bucket.run_p95_ms == bucket.run_p50_ms
    assert bucket.run_p99_ms == pytest.approx(1000, rel=0.02)
    assert bucket.total_p50_ms == pytest.approx(200, rel=0.02)
    assert all(
        isinstance(value, int) for value in (bucket.run_p50_ms, bucket.total_p99_ms)
    )


@pytest.mark.parametrize("by", ["queue", "kind"])
@pytest.mark.parametrize("secs", [60, 75])
def test_waits_are_of_every_run_that_started(
    storage: Storage, past: PastProcess, by: str, secs: int
) -> None:
    """Of a job that goes on waiting, too, and where stored buckets are divided"""
    past.runs("mail", "send", [], retried=3)
    past.clock.move(90)
    past.runs("mail", "send", [100] * 98 + [1000, 1000])
    name = {"queue": "mail", "kind": "send"}[by]
    span: dict[str, Any] = {"start": START, "end": START + 150 * SECOND, "now": LATER}

    [found] = series(storage, by=by, names=[name], bucket_secs=secs, **span).series

    first, last = found.buckets[0], found.buckets[1]
    assert (first.started, first.retried, first.wait_p99_ms) == (3, 3, 0)
    assert (last.started, last.retried) == (100, 0)
    assert last.wait_p50_ms == last.wait_p95_ms == pytest.approx(100, rel=0.02)
    assert last.wait_p99_ms == pytest.approx(1000, rel=0.02)


def test_waits_are_kept_where_no_job_was_completed() -> None:
    waited = Tally(started=4, retried=4)
    waited.wait.record_many([200_000] * 4)
    halves = [Tally(), Tally()]
    for number, half in enumerate(halves):
        half.merge_part(waited, number * 5, number * 5 + 5, 10)

    assert [half.started for half in halves] == [2, 2]
    assert [half.wait.percentiles(50)[0] for half in halves] == pytest.approx(
        [200_000] * 2, rel=0.02
    )


def test_an_empty_bucket_has_zeros(storage: Storage) -> None:
    [bucket] = timeline(
        storage, start=START, end=START + MINUTE, bucket_secs=60, now=LATER
    )

    assert (bucket.run_p50_ms, bucket.total_p99_ms, bucket.started) == (0, 0, 0)


def test_the_timeline_may_be_of_queues_and_of_a_kind(
    storage: Storage, past: PastProcess
) -> None:
    past.runs("mail", "send", [1])
    past.runs("mail", "fetch", [1] * 2)
    past.runs("bulk", "send", [1] * 4)
    past.runs("rest", "send", [1] * 8)

    def enqueued(**more: Any) -> int:
        return _timeline(storage, **more)[0][0]

    assert enqueued() == 15
    assert enqueued(queue_names=["mail"]) == 3
    assert enqueued(queue_names=["mail", "bulk"]) == 7
    assert enqueued(kind="send") == 13
    assert enqueued(kind="send", queue_names=["mail", "bulk"]) == 5
    assert enqueued(kind="send", queue_names=["nowhere"]) == 0


@pytest.mark.parametrize(
    ("secs", "even"), [(5, [5] * 12), (15, [15] * 4), (20, [20] * 3), (30, [30] * 2)]
)
def test_an_even_load_reads_evenly_at_any_width(
    storage: Storage, past: PastProcess, secs: int, even: list[int]
) -> None:
    for _ in range(6):
        past.runs("mail", "send", [20] * 4)
        past.runs("bulk", "send", [20] * 6)
        past.clock.move(10)

    def jobs(**more: Any) -> list[int]:
        found = _timeline(storage, START + MINUTE, secs, **more)
        assert all(enqueued == completed for enqueued, completed in found)
        return [enqueued for enqueued, _ in found]

    assert jobs() == even
    assert jobs(kind="send") == even
    assert jobs(queue_names=["mail", "bulk"]) == even
    assert jobs(queue_names=["idle", "bulk", "mail"]) == even
    assert Tally() == NOTHING


def test_the_series_of_a_queue_is_even_too(storage: Storage, past: PastProcess) -> None:
    storage.queues.ensure("mail")
    for _ in range(18):
        past.runs("mail", "send", [20] * 2)
        past.clock.move(10)
    span: dict[str, Any] = {
        "start": START,
        "end": START + 3 * MINUTE,
        "bucket_secs": 75,
        "now": LATER,
    }

    one = metric_series(storage, queue="mail", **span)
    [of_kind] = series(storage, by="kind", names=["send"], **span).series

    assert [each.completed for each in one] == [15, 15, 6]
    assert [each.run_p50_ms for each in one] == [20] * 3
    assert of_kind.buckets == one


def test_what_happened_just_now_is_within_the_window_to_now(
    storage: Storage, past: PastProcess
) -> None:
    past.runs("mail", "send", [20])
    now = START + timedelta(seconds=3)

    buckets = timeline(storage, start=now - MINUTE, end=now, bucket_secs=5, now=now)

    assert [each.completed for each in buckets] == [0] * 11 + [1]
    assert [each.run_p50_ms for each in buckets] == [0] * 11 + [20]


@pytest.mark.parametrize(
    ("end", "secs"), [(START, 60), (START - MINUTE, 60), (LATER, 0)]
)
def test_an_empty_window_has_no_buckets(
    storage: Storage, end: datetime, secs: int
) -> None:
    assert _timeline(storage, end, secs) == []
    assert _timeline(storage, end, secs, kind="send") == []


def test_too_many_buckets_are_refused(storage: Storage) -> None:
    with pytest.raises(InvalidInputError, match="smallest value for this window is 44"):
        _timeline(storage, START + timedelta(days=1), 43)


def test_old_figures_are_still_there(storage: Storage, past: PastProcess) -> None:
    past.runs("mail", "send", [1])
    now = START + timedelta(days=29)
    storage.metrics.fold(START_US + 29 * 86_400_000_000)
    storage.metrics.prune(START_US + 29 * 86_400_000_000)

    # Of a month ago there are whole minutes only.
    start = START - timedelta(seconds=40)
    buckets = timeline(
        storage, start=start, end=start + MINUTE, bucket_secs=60, now=now
    )

    assert [each.completed for each in buckets] == [1]


# -- one queue ---------------------------------------------------------------------


def test_the_series_of_a_queue(storage: Storage, past: PastProcess) -> None:
    storage.queues.ensure("mail")
    past.runs("mail", "send", [1])
    past.runs("bulk", "send", [1])

    def completed(queue: str, secs: int = 0) -> list[int]:
        buckets = metric_series(
            storage,
            queue=queue,
            start=START,
            end=START + 2 * MINUTE,
            bucket_secs=secs,
            now=LATER,
        )
        return [each.completed for each in buckets]

    assert completed("mail") == [1, 0]
    assert completed("mail", 59) == [1, 0]
    assert completed("mail", 120) == [1]
    assert completed("") == [2, 0]


@pytest.mark.parametrize("name", ["nowhere", "a,b", "é" * 200])
def test_the_series_of_an_unknown_queue_is_an_error(
    storage: Storage, name: str
) -> None:
    with pytest.raises(QueueNotFoundError):
        metric_series(
            storage, queue=name, start=START, end=LATER, bucket_secs=60, now=LATER
        )


# -- many names --------------------------------------------------------------------


def _series(storage: Storage, by: str, *names: str, secs: int = 60) -> dict[str, int]:
    found = series(
        storage, by=by, names=names, start=START, end=LATER, bucket_secs=secs, now=LATER
    )
    assert all(len(each.buckets) == 10 for each in found.series)
    return {each.name: each.buckets[0].completed for each in found.series}


def test_series_by_queue_and_by_kind(storage: Storage, past: PastProcess) -> None:
    for name in ("mail", "bulk", "idle"):
        storage.queues.ensure(name)
    past.runs("mail", "send", [1])
    past.runs("bulk", "send", [1, 1])
    past.runs("bulk", "pack", [1, 1, 1])

    assert _series(storage, "queue") == {"bulk": 5, "idle": 0, "mail": 1}
    assert _series(storage, "queue", "mail", "none") == {"mail": 1, "none": 0}
    assert _series(storage, "kind") == {"pack": 3, "send": 3}
    assert _series(storage, "kind", "pack", "pack") == {"pack": 3}


def test_series_are_bounded(storage: Storage) -> None:
    names = [f"kind-{number}" for number in range(MAX_NAMES + 1)]

    with pytest.raises(InvalidInputError) as too_many:
        _series(storage, "kind", *names)
    with pytest.raises(InvalidInputError) as too_much:
        series(
            storage,
            by="kind",
            names=names[:-1],
            start=START,
            end=START + 201 * MINUTE,
            bucket_secs=60,
            now=LATER,
        )

    assert (too_many.value.field, too_much.value.field) == ("name", "bucket_secs")


@pytest.mark.parametrize("minutes", [1, 201, 2000])
def test_a_request_without_names_gets_the_first_of_many(
    storage: Storage, past: PastProcess, minutes: int
) -> None:
    kinds_run = [f"kind-{number:03}" for number in range(MAX_NAMES + 1)]
    for kind in reversed(kinds_run):
        past.runs("mail", kind, [1])
    for kind in kinds_run:
        storage.queues.ensure(kind)

    for by in ("kind", "queue"):
        found = series(
            storage,
            by=by,
            names=(),
            start=START,
            end=START + minutes * MINUTE,
            bucket_secs=60,
            now=LATER,
        )
        assert [each.name for each in found.series] == kinds_run[:MAX_NAMES]
        assert found.total == MAX_NAMES + 1
        assert sum(len(each.buckets) for each in found.series) <= MAX_STORED


@pytest.mark.parametrize(
    ("hours", "secs", "width"),
    [(1, 60, 300), (1, 300, 300), (24, 600, 10_800), (100, 300, 86_400)],
)
def test_without_names_many_buckets_become_wide_ones(
    storage: Storage, past: PastProcess, hours: int, secs: int, width: int
) -> None:
    """They are stored ones, with the figures that each shows by its name."""
    names = [f"name-{number:02}" for number in range(50)]
    for name in names:
        storage.queues.ensure(name)
        past.recorder.enqueued(name, name)
    for minutes in (5, 60, 1440):
        past.runs("name-07", "name-07", [minutes, 40], retried=1, dead=1)
        past.clock.move(60 * minutes)
        past.runs("name-07", "name-49", [7])
    end = START + hours * 60 * MINUTE
    asked: dict[str, Any] = {"now": end, "end": end}

    for by in ("queue", "kind"):
        found = series(storage, by=by, names=(), start=START, bucket_secs=secs, **asked)

        assert [each.name for each in found.series] == names
        assert sum(len(each.buckets) for each in found.series) <= MAX_STORED
        at = found.series[0].buckets[0].at
        assert START - width * SECOND < at <= START
        assert to_micros(at) % (width * 10**6) == 0
        assert found.series[0].buckets[1].at - at == width * SECOND
        named = series(
            storage, by=by, names=names, start=at, bucket_secs=width, **asked
        )
        assert named == found
        assert sum(bucket.completed for bucket in found.series[7].buckets) > 1


def test_without_names_few_buckets_are_as_asked(
    storage: Storage, past: PastProcess
) -> None:
    """Read from coarser stored ones if that makes fewer rows."""
    names = [f"name-{number:02}" for number in range(50)]
    for name in names:
        storage.queues.ensure(name)
    past.runs("name-03", "send", [100, 300], retried=1)
    end = START + 24 * 60 * MINUTE

    found = series(
        storage, by="queue", names=(), start=START, end=end, bucket_secs=10_800, now=end
    )

    assert [each.at for each in found.series[3].buckets] == [
        START + number * 180 * MINUTE for number in range(8)
    ]
    [named] = series(
        storage, by="queue", names=["name-03"], start=START, end=end,
        bucket_secs=10_800, now=end,
    ).series  # fmt: skip
    assert found.series[3] == named


# -- the table of kinds ------------------------------------------------------------


def test_a_kind_that_never_ended_has_no_usual_run_time(
    storage: Storage, past: PastProcess
) -> None:
    past.runs("mail", "send", retried=2)
    past.runs("mail", "fail", dead=1)

    fail, send = kinds(storage, now=LATER)

    assert (send.success_rate, send.usual_run_ms) == (None, None)
    assert (fail.success_rate, fail.usual_run_ms) == (0.0, None)


def test_kinds_of_a_window(storage: Storage, past: PastProcess) -> None:
    past.runs("mail", "send", [100, 300], dead=1, retried=2)
    past.runs("bulk", "send", [200])
    past.runs("bulk", "pack", [5])
    past.clock.move(86_400)
    past.runs("mail", "send", [7])

    rows = kinds(storage, now=LATER, start=START, end=START + timedelta(days=1))
    of_mail = kinds(storage, now=LATER, queue_names=["mail"])

    assert [row.kind for row in rows] == ["pack", "send"]
    send = rows[1]
    assert (send.completed, send.dead, send.retried) == (3, 1, 2)
    assert send.total_run_ms == 600
    assert send.p50_ms == pytest.approx(200, rel=0.02)
    assert send.p99_ms == pytest.approx(300, rel=0.02)
    assert (send.started, send.success_rate) == (6, 0.75)
    assert send.usual_run_ms == send.p50_ms
    assert [(row.kind, row.completed) for row in of_mail] == [("send", 2)]


def test_totals_of_each_queue_and_of_all(storage: Storage, past: PastProcess) -> None:
    past.runs("mail", "send", [100, 300])
    past.runs("mail", "pack", [200], dead=1, retried=2)
    past.runs("bulk", "pack", [50])

    found = totals(storage, by="queue", now=LATER, start=START, end=LATER)
    only = totals(
        storage, by="kind", now=LATER, start=START, end=LATER, queue_names=["bulk"]
    )

    bulk, mail = found.rows
    assert (mail.kind, mail.completed, mail.dead, mail.retried) == ("mail", 3, 1, 2)
    assert (mail.total_run_ms, mail.started) == (600, 6)
    assert (found.whole.completed, found.whole.total_run_ms) == (4, 650)
    assert only.rows == [replace(bulk, kind="pack")]
    assert only.whole == replace(bulk, kind="")
