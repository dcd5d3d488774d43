from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.instants import DAY_US, SECOND_US, from_micros, to_micros
from flask_forge_jobs.model.metrics import (
    DAY,
    LEVELS,
    MAX_BUCKETS,
    NOTHING,
    DatabaseHealth,
    ResourceUse,
    SampleSums,
    Tally,
    Window,
    cover,
    floor_to,
    window,
)

NOON = datetime(2026, 9, 16, 12, tzinfo=UTC)
NOON_US = to_micros(NOON)
MONTH_US = 30 * DAY_US
USE = ResourceUse(
    cpu_pct=12.5,
    rss_bytes=1000,
    disk_read_bytes=1,
    disk_write_bytes=2,
    disk_used_pct=41.0,
)
HEALTH = DatabaseHealth(
    pool_active=1, pool_idle=2, pool_max=100, db_size_bytes=5000, wal_bytes=70
)


def test_tallies_add_up() -> None:
    whole = Tally(enqueued=1, started=2)
    part = Tally(enqueued=4, retried=1, completed=5, dead=6, refused=7)
    part.run.record_many([1000])
    part.wait.record_many([10])

    whole.merge(part)
    whole.merge(part)

    assert (whole.enqueued, whole.started, whole.retried) == (9, 2, 2)
    assert (whole.completed, whole.dead, whole.refused) == (10, 12, 14)
    assert (whole.run.count, whole.wait.count, whole.total.count) == (2, 2, 0)


@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=8),
    st.integers(1, 200),
    st.integers(0, 9),
    st.integers(0, 100),
)
def test_no_job_is_lost_or_made_up_where_tallies_are_shared_out(
    counts: list[int], secs: int, offset_s: int, now_s: int
) -> None:
    start = NOON - timedelta(seconds=offset_s)
    wanted = window(start, NOON + timedelta(seconds=10 * len(counts)), secs)
    stored = wanted.stored(10)
    tallies = [Tally() for _ in range(stored.count)]
    for number, count in enumerate(counts):
        tally = tallies[stored.index_of(NOON_US + 10 * number * SECOND_US)]
        tally.enqueued += count
        tally.completed += count
        tally.run.record_many([1000] * count)

    shares = wanted.share_out(stored, tallies, NOON_US + now_s * SECOND_US)

    assert len(shares) == wanted.count
    assert sum(each.enqueued for each in shares) == sum(counts)
    assert sum(each.completed for each in shares) == sum(counts)
    assert all(bool(each.completed) == bool(each.run.count) for each in shares)


def test_shares_of_nothing_are_nothing_and_leave_it_as_it_is() -> None:
    wanted = Window(NOON_US, 15 * SECOND_US, 2)
    busy = Tally(enqueued=5)

    shares = wanted.share_out(
        wanted.stored(10), [NOTHING, NOTHING, busy], NOON_US + DAY_US
    )

    assert shares[0] is NOTHING
    assert shares[1].enqueued == 5
    assert Tally() == NOTHING


def test_shares_have_the_percentiles_of_what_they_hold() -> None:
    wanted = Window(NOON_US, 15 * SECOND_US, 2)
    slow, fast = Tally(completed=6), Tally(completed=6)
    slow.run.record_many([1_000_000] * 6)
    fast.run.record_many([1000] * 6)

    first, second = wanted.share_out(
        wanted.stored(10), [slow, fast, fast], NOON_US + DAY_US
    )

    # Six slow jobs and three fast ones.
    assert first.run.percentiles(33, 34)[0] == pytest.approx(1000, rel=0.02)
    assert first.run.percentiles(33, 34)[1] == pytest.approx(1_000_000, rel=0.02)
    assert second.run.percentiles(100)[0] == pytest.approx(1000, rel=0.02)


# -- windows -----------------------------------------------------------------------


def test_buckets_are_aligned_to_the_start_of_the_window() -> None:
    start = NOON + timedelta(seconds=7, milliseconds=5)

    made = window(start, start + timedelta(seconds=150), 60)

    assert [from_micros(us) - start for us in made.starts()] == [
        timedelta(0),
        timedelta(seconds=60),
        timedelta(seconds=120),
    ]
    assert made.index_of(to_micros(start) - 1) == -1
    assert made.index_of(to_micros(start) + 60 * SECOND_US) == 1


@given(st.integers(1, 10**9), st.integers(1, 10**6))
def test_a_window_has_as_many_buckets_as_it_takes(span_us: int, secs: int) -> None:
    made = window(NOON, NOON + timedelta(microseconds=span_us), secs)

    assert made.count == math.ceil(span_us / (secs * SECOND_US)) >= 1
    assert made.end_us - made.width_us < NOON_US + span_us <= made.end_us


@pytest.mark.parametrize(
    ("length", "secs"), [(timedelta(0), 60), (timedelta(-1), 60), (timedelta(1), 0)]
)
def test_an_empty_window_has_no_buckets(length: timedelta, secs: int) -> None:
    made = window(NOON, NOON + length, secs)

    assert (made.count, list(made.starts())) == (0, [])


def test_a_width_below_the_least_is_raised_to_it() -> None:
    hour = NOON + timedelta(hours=1)

    assert window(NOON, hour, 0, least_secs=60).count == 60
    assert window(NOON, hour, 59, least_secs=60).count == 60
    assert window(NOON, hour, 61, least_secs=60).count == 60


def test_more_than_two_thousand_buckets_are_refused_with_the_least_width() -> None:
    end = NOON + timedelta(seconds=MAX_BUCKETS * 3, microseconds=1)

    with pytest.raises(InvalidInputError) as caught:
        window(NOON, end, 3)

    assert caught.value.field == "bucket_secs"
    assert "the smallest value for this window is 4" in caught.value.message
    assert window(NOON, end, 4).count <= MAX_BUCKETS
    assert window(NOON, end - timedelta(microseconds=1), 3).count == MAX_BUCKETS


# -- levels ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "secs", "level"),
    [
        (timedelta(minutes=5), 1, 10),
        (timedelta(minutes=5), 5, 10),
        (timedelta(hours=1), 60, 10),
        (timedelta(hours=24), 900, 60),
        (timedelta(days=2), 90, 60),
        (timedelta(days=7), 303, 300),
        (timedelta(days=7), 7200, 1800),
        (timedelta(days=30), 43_200, 1800),
        (timedelta(days=365), 86_400, 86_400),
    ],
)
def test_the_level_is_the_finest_that_is_cheap_enough(
    length: timedelta, secs: int, level: int
) -> None:
    made = window(NOON - length, NOON, secs)

    assert made.level(NOON_US) == level


def test_the_finest_level_is_not_asked_about_what_it_no_longer_holds() -> None:
    old = NOON - timedelta(days=2)

    assert window(old, old + timedelta(minutes=5), 5).level(NOON_US) == 60


@pytest.mark.parametrize(
    ("begins_s", "width_s", "level"),
    [(0, 60, 60), (10, 60, 10), (0, 900, 300), (60, 900, 60), (0, 7200, 1800),
     (0, 45, 10), (0, 86_400, 10_800)],
)  # fmt: skip
def test_the_widest_level_has_whole_buckets_for_each(
    begins_s: int, width_s: int, level: int
) -> None:
    made = Window(NOON_US + begins_s * SECOND_US, width_s * SECOND_US, 4)

    assert made.widest(LEVELS[0]) == level
    assert made.widest(DAY) == DAY


@given(st.integers(1, 40 * DAY_US), st.integers(0, 10**5))
def test_a_chart_of_stored_figures_reads_few_rows(age_us: int, more_s: int) -> None:
    least_s = -(-age_us // (MAX_BUCKETS * SECOND_US))
    made = window(from_micros(NOON_US - age_us), NOON, least_s + more_s)
    level = made.level(NOON_US)
    rows = (made.end_us - made.start_us) / (level * SECOND_US)

    assert rows <= 1500 or level * 6 * SECOND_US >= made.width_us or level >= 1800


@given(st.integers(-(10**15), 10**15), st.sampled_from(LEVELS))
def test_a_stored_bucket_holds_the_instant(instant_us: int, level: int) -> None:
    start_us = floor_to(instant_us, level)

    assert start_us <= instant_us < start_us + level * SECOND_US
    assert start_us % (level * SECOND_US) == 0


@given(st.integers(0, 40 * DAY_US), st.integers(0, 40 * DAY_US))
def test_a_cover_has_every_finest_bucket_once(one: int, two: int) -> None:
    start_us, end_us = sorted((one, two))

    parts = cover(start_us, end_us)

    edge = start_us
    for level, first, last in parts:
        assert first == edge < last
        assert level == LEVELS[0] or first % (level * SECOND_US) == 0
        edge = last
    assert edge == end_us or not parts
    assert len(parts) <= 2 * len(LEVELS) - 1


def test_a_cover_reads_days_where_it_can() -> None:
    parts = cover(NOON_US, NOON_US + 7 * DAY_US)

    assert [level for level, _, _ in parts] == [10_800, 86_400, 10_800]
    assert parts[1][2] - parts[1][1] == 6 * DAY_US


def test_an_empty_interval_needs_no_cover() -> None:
    assert cover(NOON_US, NOON_US) == []


def test_a_window_knows_its_end() -> None:
    assert Window(0, 10, 3).end_us == 30


def test_a_window_of_years_is_not_read_day_by_day() -> None:
    years = Window(0, (10**9 - 1) * SECOND_US, 300)

    assert years.stored(years.level(NOON_US)) is years


@pytest.mark.parametrize("secs", [1, 15, 59, 61, 75, 299, 301, 1799])
def test_the_longest_window_of_any_width_below_half_an_hour_is_shared_out(
    secs: int,
) -> None:
    longest = Window(NOON_US, secs * SECOND_US, MAX_BUCKETS)
    level = longest.level(NOON_US)

    stored = longest.stored(level)

    assert stored.width_us == level * SECOND_US
    shares = longest.share_out(
        stored, [Tally(enqueued=level) for _ in range(stored.count)], NOON_US - 1
    )
    assert {each.enqueued for each in shares} == {secs}


def test_samples_add_up_and_have_a_mean() -> None:
    sums = SampleSums()
    sums.add(USE, HEALTH)
    sums.add(ResourceUse(cpu_pct=7.5, rss_bytes=3000), HEALTH)

    assert sums.samples == 2
    assert (sums.mean("cpu_pct"), sums.mean("rss_bytes")) == (10.0, 2000.0)
    assert (sums.pool_max, sums.mean("pool_max")) == (200, 100.0)


def test_buckets_merge_into_what_all_their_samples_would_have_made() -> None:
    one, two, both = SampleSums(), SampleSums(), SampleSums()
    for part in (one, two):
        part.add(USE, HEALTH)
        both.add(USE, HEALTH)
        part.reads.record_many([100])
        both.reads.record_many([100])

    one.merge(two)

    assert one == both


def test_no_samples_have_a_mean_of_zero() -> None:
    assert SampleSums().mean("cpu_pct") == 0.0
