"""The tiles: numbers, their comparison, and sums of gauges with gaps."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from werkzeug.datastructures import MultiDict

from flask_forge_jobs.dashboard.charts.ranges import chosen
from flask_forge_jobs.dashboard.charts.small import spark
from flask_forge_jobs.dashboard.overview.tiles import Gauged, Tile, gauged, tiles
from flask_forge_jobs.dashboard.queue_rows import QueueRow
from flask_forge_jobs.handlers.gauges import GaugeSeries
from flask_forge_jobs.handlers.series import Bucket
from flask_forge_jobs.model.queues import QueueCounts
from tests.dashboard.test_queue_rows import BUSY, FREE, row

NOW = datetime(2026, 11, 30, 14, 30, tzinfo=UTC)
SHOWN = chosen(MultiDict({"range": "1h"}), NOW)
ZEROS = dict.fromkeys(Bucket._fields[1:], 0)


def buckets(*completed: int, retried: int = 0) -> list[Bucket]:
    """Return the buckets of an hour, these at its end."""
    counts = [0] * (60 - len(completed)) + list(completed)
    return [
        Bucket(NOW, **{**ZEROS, "completed": each, "retried": retried})
        for each in counts
    ]


def shown(
    found: list[Bucket],
    *rows: QueueRow,
    workers: int = 1,
    capacity: int = 3,
    served: Collection[str] = (),
) -> dict[str, Tile]:
    drawn = tiles(
        SHOWN, found, rows, Gauged(), workers=workers, capacity=capacity, served=served
    )
    return {each.name: each for each in drawn}


def test_throughput_is_compared_with_the_range() -> None:
    usual = shown(buckets(*[10] * 60))["Throughput"]
    high = shown(buckets(*[10] * 57, 20, 20, 20))["Throughput"]

    assert (usual.value, usual.unit, usual.note) == (
        "10",
        "/min",
        "as usual, last hour",
    )
    assert (high.value, high.note) == ("20", "90% above usual, last hour")
    none = shown(buckets())["Throughput"]
    assert (none.note, none.colour) == ("no job completed", "ink")
    assert usual.colour == "green"
    assert shown(buckets(*[10] * 57, 0, 0, 0))["Throughput"].note == "none for 3m"
    assert shown(buckets(*[10] * 55, *[0] * 5))["Throughput"].note == "none for 5m"
    burst = shown(buckets(*[0] * 57, 20, 20, 20))["Throughput"]
    assert burst.note == "20 times the usual, last hour"


def test_the_minute_that_is_not_over_is_no_fall() -> None:
    running = chosen(MultiDict({"range": "1h"}), NOW + timedelta(seconds=40))
    found = buckets(*[10] * 59, 1)

    history = Gauged(running=[4, 4, 4, 0])

    first, *_, slots, _ = tiles(running, found, [], history, workers=1, capacity=1)

    assert (first.value, first.note) == ("10", "as usual, last hour")
    assert slots.spark == spark([4, 4, 4])


def test_failures_are_a_share_of_the_runs_that_ended() -> None:
    few = shown(buckets(*[99] * 60, retried=1))["Failures"]
    many = shown(buckets(*[3] * 60, retried=1))["Failures"]

    assert (few.value, few.note, few.tone) == ("1%", "last hour, usually 1%", "")
    assert (many.value, many.tone) == ("25%", "bad")
    assert shown(buckets())["Failures"].note == "no run ended"


def test_of_few_runs_failures_have_no_share() -> None:
    few = [*buckets(2)[1:], *buckets(0, retried=3)[:1]]
    enough = [*buckets(17)[1:], *buckets(0, retried=3)[:1]]

    failures = shown(few)["Failures"]

    assert (failures.value, failures.unit) == ("3", "of 5 runs")
    assert shown(enough)["Failures"].value == "15%"
    assert (failures.note, failures.tone, failures.spark.line) == ("last hour", "", "")


def test_a_share_of_failures_is_red_above_the_usual_one() -> None:
    steady = buckets(*[97] * 60, retried=3)
    better = [*steady[:50], *buckets(*[97] * 60)[50:]]
    worse = [*steady[:50], *buckets(*[97] * 60, retried=30)[50:]]

    found = [shown(each)["Failures"] for each in (steady, better, worse)]

    assert [(each.tone, each.colour) for each in found] == [
        ("", "ink"), ("", "ink"), ("bad", "red"),
    ]  # fmt: skip


def test_a_share_of_failures_that_looks_like_the_usual_one_is_not_red() -> None:
    usual = buckets(*[90] * 60, retried=10)
    noisy = [*usual[:50], *buckets(*[90] * 60, retried=11)[50:]]

    failures = shown(noisy)["Failures"]

    assert (failures.value, failures.note) == ("10%", "last hour, usually 10%")
    assert failures.tone == ""


def test_the_tiles_name_a_window_that_is_chosen_by_hand() -> None:
    ends = {"from": "2026-11-30T13:00Z", "to": "2026-11-30T14:00Z"}
    found = buckets(*[10] * 60)

    first, second, *_ = tiles(
        chosen(MultiDict(ends), NOW), found, [], Gauged(), workers=1, capacity=1
    )

    assert first.note == "as usual, this range"
    assert second.note == "this range, usually 0%"


def test_waits_and_slots_are_those_of_the_queues() -> None:
    runs = QueueCounts(in_progress=1)
    rows = [row(runs), row(runs, (BUSY,))]

    found = shown(buckets(), *rows, workers=0)

    assert _running(found) == ("2", "of 3", "67% of all slots")
    assert (found["Oldest wait"].value, found["Waiting"].note) == ("none", "none")
    assert (found["Workers"].tone, found["Workers"].note) == (
        "bad",
        "none is running",
    )


def test_a_job_that_is_due_for_less_than_a_second_waits() -> None:
    found = shown(buckets(), row(QueueCounts(pending=2)))

    assert found["Waiting"].value == "2"
    assert (found["Oldest wait"].value, found["Oldest wait"].note) == ("under 1s", "")


def test_queues_without_a_worker_count_also_if_they_are_paused() -> None:
    """The table has no slots for them either."""
    paused = row(slots=(), paused=True)
    rows = [row(), row(QueueCounts(pending=1), age_s=300), paused]

    def noted(*rows: QueueRow, served: Collection[str] = ()) -> str:
        return shown(buckets(), *rows, served=served)["Workers"].note

    assert noted(*rows, served=[paused.name]) == "3 queues served"
    assert noted(*rows) == "1 queue without one"
    assert noted(row(slots=()), *rows) == "2 queues without one"


def test_the_tiles_count_as_the_rest_of_the_page() -> None:
    """A moment lies between the two reads."""
    rows = [row(QueueCounts(pending=9, in_progress=1), (BUSY,))]
    counts = {"pending": 7, "in_progress": 3, "running": 2}

    drawn = tiles(
        SHOWN, buckets(), rows, Gauged(), workers=1, capacity=1, counts=counts
    )

    by_name = {each.name: each for each in drawn}
    assert (by_name["Waiting"].value, by_name["Waiting"].note) == ("7", "7 in mail")
    assert _running(by_name) == ("2", "of 2", "1 claimed ahead")

    none = {"pending": 0, "in_progress": 0, "running": 0}
    _, _, waiting, *_ = tiles(
        SHOWN, buckets(), rows, Gauged(), workers=1, capacity=1, counts=none
    )
    assert waiting.note == "none"


def test_claimed_jobs_do_not_run_and_threads_bound_the_slots() -> None:
    """A worker with one thread has claimed 40 jobs ahead of the one that runs."""
    claimed = QueueCounts(in_progress=41)

    found = shown(buckets(), row(claimed), row(slots=(FREE,)), capacity=1)
    ended = shown(buckets(), row(), capacity=1)

    assert _running(found) == ("1", "of 1", "40 claimed ahead")
    assert _running(ended) == ("0", "of 1", "0% of all slots")


def test_jobs_that_no_live_worker_holds_are_of_lost_ones() -> None:
    found = shown(
        buckets(), row(QueueCounts(in_progress=7), slots=()), workers=0, capacity=0
    )

    assert _running(found) == ("0", "of 0", "7 of lost workers")


def _running(found: dict[str, Tile]) -> tuple[str, str, str]:
    tile = found["Busy slots"]
    return tile.value, tile.unit, tile.note


def test_gauges_of_queues_are_added_up_and_gaps_stay() -> None:
    def series(*waiting: float | None) -> GaugeSeries:
        ages = [None if each is None else int(each) for each in waiting]
        return GaugeSeries("x", NOW, 60, waiting, ages, waiting, waiting, waiting)

    whole = gauged([series(1, None, 3), series(2, None, None)])

    assert whole.waiting == [3, None, 3]
    assert (whole.oldest_wait_s, whole.workers) == ([2, None, 3], [2, None, 3])
    assert gauged([]).waiting == []
