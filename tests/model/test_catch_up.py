"""Which firings are made after a pause of the scheduler: each policy, exactly."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.catch_up import MISSED_AFTER_S, CatchUp
from flask_forge_jobs.model.cron import BAD_EXPRESSION, Schedule, ScheduleDefinition

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
EVERY_MINUTE = ScheduleDefinition("s", "k", "* * * * *")
EVERY_SECOND = replace(EVERY_MINUTE, cron_expr="* * * * * *")


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
