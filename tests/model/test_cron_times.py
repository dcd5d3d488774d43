"""When an expression fires, also at the end of the calendar and where clocks jump."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.resources import files
from itertools import islice, pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.catch_up import CatchUp
from flask_forge_jobs.model.cron import BAD_EXPRESSION, Schedule, ScheduleDefinition
from flask_forge_jobs.model.cron_expression import CronExpression
from flask_forge_jobs.model.cron_times import (
    MISSED_AFTER_S,
    check_time_zone,
    next_after,
)
from tests.support.costs import lines_run
from tests.support.minute_walk import Spec, Walk
from tests.support.zone_walks import SPECS, compare, jumps

UTC_ZONE = ZoneInfo("UTC")
START = datetime(2026, 1, 1, tzinfo=UTC)
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
EVERY_MINUTE = ScheduleDefinition("s", "k", "* * * * *")
EVERY_SECOND = replace(EVERY_MINUTE, cron_expr="* * * * * *")


def firings(text: str, zone: str, start: datetime, count: int) -> list[str]:
    """The next firings as the zone's clock shows them."""
    expression, rules, found = CronExpression.parse(text), ZoneInfo(zone), []
    for _ in range(count):
        following = next_after(expression, start, rules)
        assert following is not None
        assert following > start
        assert following.tzinfo is UTC
        start = following
        found.append(start.astimezone(rules).strftime("%m-%d %H:%M:%S%z"))
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 6 * * *", "2026-01-01 06:00:00"),
        ("0 0 * * *", "2026-01-02 00:00:00"),
        ("* * * * *", "2026-01-01 00:01:00"),
        ("* * * * * *", "2026-01-01 00:00:01"),
        ("59 59 23 31 12 *", "2026-12-31 23:59:59"),
        ("0 0 29 2 *", "2028-02-29 00:00:00"),
        ("0 0 31 * *", "2026-01-31 00:00:00"),
        ("0 0 13 * FRI", "2026-01-02 00:00:00"),
        ("0 0 0 13 * FRI", "2026-02-13 00:00:00"),
        ("0 0 */2 * MON", "2026-01-05 00:00:00"),
        ("0 0 0 1 1 ? 2027", "2027-01-01 00:00:00"),
        ("0 0 0 ? * 1", "2026-01-04 00:00:00"),
        ("0 0 * * 0", "2026-01-04 00:00:00"),
        ("0 0 * * 7", "2026-01-04 00:00:00"),
        ("30 15,45 8-10 * * *", "2026-01-01 08:15:30"),
    ],
)
def test_the_next_firing(text: str, expected: str) -> None:
    found = next_after(CronExpression.parse(text), START, UTC_ZONE)

    assert found == datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_the_next_firing_is_strictly_later() -> None:
    expression = CronExpression.parse("30 15,45 8-9 * * *")
    found = [START]
    while len(found) < 6:
        following = next_after(expression, found[-1], UTC_ZONE)
        assert following is not None
        found.append(following)

    assert [f"{instant:%d %H:%M:%S}" for instant in found[1:]] == [
        "01 08:15:30", "01 08:45:30", "01 09:15:30", "01 09:45:30", "02 08:15:30",
    ]  # fmt: skip


def test_a_fraction_of_a_second_is_before_the_next_second() -> None:
    expression = CronExpression.parse("* * * * * *")
    found = next_after(expression, START + timedelta(microseconds=1), UTC_ZONE)

    assert found == START + timedelta(seconds=1)


@pytest.mark.parametrize(
    "text",
    [
        "0 0 31 2 *",
        "0 0 30 2 *",
        "0 0 31 4,6,9,11 *",
        "0 0 0 31 2 ? *",
        "0 0 0 1 1 ? 2025",
        "* * * * * * 1970-2025",
        "0 0 0 29 2 ? 2027/4",
        "*/1 */1 */1 30-31 2 * *",
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Pacific/Apia"])
def test_never_is_known_at_once(text: str, zone: str) -> None:
    expression, rules = CronExpression.parse(text), ZoneInfo(zone)

    assert next_after(expression, START, rules) is None
    assert lines_run(lambda: next_after(expression, START, rules)) < 10_000


def test_the_last_firing_is_in_2100() -> None:
    expression = CronExpression.parse("0 0 31 12 *")
    last = datetime(2100, 12, 31, tzinfo=UTC)

    assert next_after(expression, last - timedelta(days=1), UTC_ZONE) == last
    assert next_after(expression, last, UTC_ZONE) is None
    assert next_after(expression, datetime.max.replace(tzinfo=UTC), UTC_ZONE) is None


# -- as others have it --------------------------------------------------------------


def field(low: int, high: int) -> st.SearchStrategy[str]:
    """What may stand in one of five fields; a step fits into the field."""
    value = st.integers(low, high)
    span = st.lists(value, min_size=2, max_size=2, unique=True).map(sorted)
    stepped = st.one_of(st.just("*"), span.map(lambda ends: f"{ends[0]}-{ends[1]}"))
    item = st.one_of(
        value.map(str),
        stepped,
        st.builds("{}/{}".format, stepped, st.integers(1, min(high, 9))),
    )
    return st.one_of(st.just("*"), st.lists(item, min_size=1, max_size=3).map(",".join))


@given(
    st.tuples(field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 6)),
    st.datetimes(datetime(1999, 12, 1), datetime(2037, 12, 1)),  # noqa: DTZ001
)
def test_five_fields_fire_when_cronsim_says(
    fields: tuple[str, ...], start: datetime
) -> None:
    instant = start.replace(tzinfo=UTC)
    text = " ".join(fields)

    for expected in islice(CronSim(text, instant), 3):
        found = next_after(CronExpression.parse(text), instant, UTC_ZONE)
        assert found == expected, text
        instant = found


# -- clocks that jump --------------------------------------------------------------


def test_a_skipped_hour_fires_once_when_it_is_over() -> None:
    """Europe/Berlin skips 02:00 to 03:00 on 29 March 2026"""
    start = datetime(2026, 3, 28, 12, tzinfo=UTC)

    assert firings("30 2 * * *", "Europe/Berlin", start, 2) == [
        "03-29 03:00:00+0200", "03-30 02:30:00+0200",
    ]  # fmt: skip
    assert firings("*/20 2 * * *", "Europe/Berlin", start, 2) == [
        "03-29 03:00:00+0200", "03-30 02:00:00+0200",
    ]  # fmt: skip
    assert firings("0 1,2,3 * * *", "Europe/Berlin", start, 3) == [
        "03-29 01:00:00+0100", "03-29 03:00:00+0200", "03-30 01:00:00+0200",
    ]  # fmt: skip


def test_a_repeated_hour_fires_the_first_time() -> None:
    """Europe/Berlin repeats 02:00 to 03:00 on 25 October 2026"""
    start = datetime(2026, 10, 24, 12, tzinfo=UTC)

    assert firings("30 2 * * *", "Europe/Berlin", start, 2) == [
        "10-25 02:30:00+0200", "10-26 02:30:00+0100",
    ]  # fmt: skip
    in_second_run = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)
    assert firings("30 2 * * *", "Europe/Berlin", in_second_run, 1) == [
        "10-26 02:30:00+0100",
    ]  # fmt: skip
    assert firings("0 2,3 * * *", "Europe/Berlin", in_second_run, 1) == [
        "10-25 03:00:00+0100",
    ]  # fmt: skip


def test_an_interval_counts_real_time() -> None:
    spring = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    autumn = datetime(2026, 10, 24, 23, 30, tzinfo=UTC)

    assert firings("0 * * * *", "Europe/Berlin", spring, 2) == [
        "03-29 03:00:00+0200", "03-29 04:00:00+0200",
    ]  # fmt: skip
    assert firings("30 * * * *", "Europe/Berlin", autumn, 3) == [
        "10-25 02:30:00+0200", "10-25 02:30:00+0100", "10-25 03:30:00+0100",
    ]  # fmt: skip


def test_a_day_that_a_zone_skipped_fires_when_the_next_begins() -> None:
    """Pacific/Apia had no 30 December 2011"""
    start = datetime(2011, 12, 29, 20, tzinfo=UTC)

    assert firings("30 2 30 12 *", "Pacific/Apia", start, 1) == ["12-31 00:00:00+1400"]
    assert firings("0 */6 30 12 *", "Pacific/Apia", start, 1) == ["12-30 00:00:00+1400"]


def test_every_second_of_a_gap_is_passed_in_one_step() -> None:
    expression = CronExpression.parse("* * 0/1 30 12 * *")
    find = partial(
        next_after, expression, datetime(2011, 12, 30, 9, tzinfo=UTC),
        ZoneInfo("Pacific/Apia"),
    )  # fmt: skip

    assert find() == datetime(2012, 12, 29, 10, tzinfo=UTC)
    assert lines_run(find) < 1_000


@pytest.mark.parametrize(
    "zone",
    ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca",
     "America/Scoresbysund", "Asia/Gaza", "Antarctica/Troll"],
)  # fmt: skip
def test_firings_are_those_of_a_walk_through_the_minutes(zone: str) -> None:
    """For all zones: python -m tests.acceptance.cron_clocks"""
    found = list(jumps(zone, datetime(2026, 1, 1, tzinfo=UTC), years=1))

    assert found
    for jump in found:
        assert compare(ZoneInfo(zone), jump, SPECS) == []


@pytest.mark.parametrize(
    ("zone", "jump"),
    [
        ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
        ("Asia/Pyongyang", datetime(2018, 5, 4, 15, tzinfo=UTC)),
        ("America/Caracas", datetime(2016, 5, 1, 7, tzinfo=UTC)),
        ("Asia/Beirut", datetime(2026, 3, 28, 22, tzinfo=UTC)),
    ],
)
def test_firings_around_a_jump_of_another_kind(zone: str, jump: datetime) -> None:
    assert compare(ZoneInfo(zone), jump, SPECS) == []


HOURS = st.sets(st.integers(0, 23), min_size=1, max_size=4)
MINUTES = st.sets(st.integers(0, 59), min_size=1, max_size=4)
WEEKDAYS = st.sets(st.integers(0, 6), min_size=1, max_size=6)


@given(
    st.fixed_dictionaries({"hours": HOURS, "minutes": MINUTES, "weekdays": WEEKDAYS}),
    st.sampled_from(["Europe/Berlin", "Australia/Lord_Howe"]),
    st.booleans(),
    st.integers(0, 47),
    st.booleans(),
)
def test_any_expression_fires_as_the_walk_says(
    sets: dict[str, set[int]], name: str, spring: bool, offset_h: int, interval: bool
) -> None:
    hours, minutes, weekdays = sets["hours"], sets["minutes"], sets["weekdays"]
    zone = ZoneInfo(name)
    jump = {
        ("Europe/Berlin", True): datetime(2026, 3, 29, 1, tzinfo=UTC),
        ("Europe/Berlin", False): datetime(2026, 10, 25, 1, tzinfo=UTC),
        ("Australia/Lord_Howe", True): datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
        ("Australia/Lord_Howe", False): datetime(2026, 4, 4, 15, tzinfo=UTC),
    }[zone.key, spring]
    joined = [",".join(map(str, sorted(each))) for each in (minutes, hours, weekdays)]
    hour = ",".join(f"{h}-{h}/1" for h in sorted(hours)) if interval else joined[1]
    spec = Spec(
        f"{joined[0]} {hour} * * {joined[2]}",
        lambda at: (
            at.minute in minutes
            and at.hour in hours
            and at.isoweekday() % 7 in weekdays
        ),
        is_interval=interval,
    )
    begin = jump - timedelta(hours=offset_h)
    walked = [
        instant
        for instant in Walk(zone, begin - timedelta(hours=3), 60 * 60).firings(spec)
        if instant > begin
    ]

    following = next_after(CronExpression.parse(spec.text), begin, zone)

    assert following is not None
    if walked:
        assert following == walked[0]
    else:
        assert following > begin + timedelta(hours=56)


@pytest.mark.parametrize(
    "name", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+12"]
)
def test_a_zone_of_the_database_passes(name: str) -> None:
    assert ZoneInfo(check_time_zone(name)).key == name


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Mars/Olympus",
        "europe/berlin",
        "Europe/Berlin ",
        "../../etc/passwd",
        "TZ=../../etc/passwd",
        "/etc/passwd",
        "/usr/share/zoneinfo/UTC",
        "Europe/../UTC",
        "Europe",
        "posix/UTC",
        "right/UTC",
        "posixrules",
        "localtime",
        "UTC\x00",
        "\ud800",
        "x" * 65,
        None,
        1,
        ["UTC"],
    ],
)
def test_anything_else_is_refused_and_named(value: object) -> None:
    check_time_zone("UTC")  # reads which zones there are, once
    faults: list[InvalidInputError] = []

    def check() -> None:
        with pytest.raises(InvalidInputError) as caught:
            check_time_zone(value)
        faults.append(caught.value)

    assert lines_run(check) < 200
    assert [fault.field for fault in faults] == ["timezone"]


def test_every_zone_that_passes_can_be_loaded() -> None:
    known = set((files("tzdata") / "zones").read_text("utf-8").split())

    assert {ZoneInfo(check_time_zone(name)).key for name in known} == known
    # Beside newer ones, some hosts have files that are not in the database.
    assert len(known & available_timezones()) > 400


def due(
    definition: ScheduleDefinition, first: datetime, now: datetime
) -> list[datetime]:
    return definition.due(first, now)


@pytest.mark.parametrize("policy", CatchUp)
def test_a_late_firing_is_made_under_every_policy(policy: CatchUp) -> None:
    definition = replace(EVERY_MINUTE, catch_up=policy)

    for late_s in (0, 5, MISSED_AFTER_S - 1):
        assert due(definition, NOON, NOON + late_s * SECOND) == [NOON]


@pytest.mark.parametrize("policy", CatchUp)
def test_a_slow_look_makes_every_firing_of_its_minute(policy: CatchUp) -> None:
    definition = replace(EVERY_SECOND, catch_up=policy, catch_up_limit=1)
    now = NOON + MISSED_AFTER_S * SECOND

    assert due(definition, NOON, now) == [
        NOON + n * SECOND for n in range(MISSED_AFTER_S + 1)
    ]


def test_ten_minutes_without_a_scheduler() -> None:
    first, now = NOON + MINUTE, NOON + 10 * MINUTE + 20 * SECOND
    missed = [NOON + n * MINUTE for n in range(1, 11)]

    table = {
        ("skip", 100): [],
        ("once", 100): missed[-1:],
        ("all", 100): missed,
        ("all", 10): missed,
        ("all", 9): missed[1:],
        ("all", 1): missed[-1:],
    }
    for (policy, limit), expected in table.items():
        definition = replace(EVERY_MINUTE, catch_up=policy, catch_up_limit=limit)
        assert due(definition, first, now) == expected, (policy, limit)


@pytest.mark.parametrize(
    ("expression", "timezone"),
    [
        ("* * * * * *", "UTC"),
        ("30 2 * * *", "Europe/Berlin"),
        ("*/7 1-4 * * *", "Europe/Berlin"),
        ("0 0 31 * *", "America/New_York"),
        ("0 0 29 2 *", "UTC"),
        ("* * * 1 1 *", "UTC"),
    ],
)
def test_of_too_many_the_latest_are_made(expression: str, timezone: str) -> None:
    definition = replace(
        EVERY_MINUTE, cron_expr=expression, timezone=timezone,
        catch_up="all", catch_up_limit=5,
    )  # fmt: skip
    # Ends within an hour that Berlin's clocks repeat.
    now = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    first = definition.next_firing(now - timedelta(days=9000))

    found = due(definition, first, now)

    assert len(found) == 5
    assert [definition.next_firing(instant) for instant in found[:-1]] == found[1:]
    assert found[-1] <= now < definition.next_firing(found[-1])


def test_a_year_of_seconds_is_caught_up_with_at_once() -> None:
    definition = replace(EVERY_SECOND, catch_up="all", catch_up_limit=1000)
    now = NOON + timedelta(days=365, milliseconds=700)

    found = due(definition, NOON, now)

    assert (len(found), found[-1]) == (1000, NOON + timedelta(days=365))
    assert {later - earlier for earlier, later in pairwise(found)} == {SECOND}


@pytest.mark.parametrize("policy", CatchUp)
def test_the_series_goes_on_after_now(policy: CatchUp) -> None:
    schedule = Schedule.new(replace(EVERY_MINUTE, catch_up=policy), NOON)
    now = NOON + 10 * MINUTE + 20 * SECOND

    instants, after = schedule.fired(now)

    assert after.next_fire_at == NOON + 11 * MINUTE
    assert after.last_fired_at == (now if instants else None)
    assert after.fired(now) == ([], after)


def test_the_last_occurrence_fires_and_then_disables() -> None:
    schedule = Schedule.new(replace(EVERY_MINUTE, cron_expr="0 0 12 2 6 * 2026"), NOON)
    last = NOON + timedelta(days=1)

    instants, after = schedule.fired(last)

    assert instants == [last]
    assert (after.definition.enabled, after.next_fire_at) == (False, None)
    assert after.last_fired_at == last
    assert (after.last_error or "").startswith(f"{BAD_EXPRESSION}has no occurrence")
    assert after.is_disabled_by_its_expression


def test_a_disabled_schedule_fires_nothing() -> None:
    schedule = Schedule.new(replace(EVERY_MINUTE, enabled=False), NOON)

    assert schedule.fired(NOON + 10 * MINUTE) == ([], schedule)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("catch_up", "twice"),
        ("catch_up", ""),
        ("catch_up", None),
        ("catch_up_limit", 0),
        ("catch_up_limit", 1001),
        ("catch_up_limit", True),
    ],
)
def test_a_policy_beyond_its_bounds_names_the_field(field: str, value: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        replace(EVERY_MINUTE, **{field: value}).check()  # type: ignore[arg-type]

    assert caught.value.field == field
