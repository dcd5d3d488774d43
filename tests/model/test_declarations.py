"""What code says of a schedule, and which of two sides a value follows."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import UTC, datetime

from flask_forge_jobs.model.cron import Schedule, ScheduleDefinition
from flask_forge_jobs.model.declarations import declaration, followed

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
CODE = ScheduleDefinition("s", "k", "@daily")


def stored(definition: ScheduleDefinition) -> Schedule:
    return replace(Schedule.new(definition, NOON), declared_as=declaration(CODE))


def test_everything_is_declared_but_the_name_and_the_pause() -> None:
    names = {field.name for field in fields(ScheduleDefinition)}

    assert set(json.loads(declaration(CODE))) == names - {"name", "enabled"}


def test_the_same_is_said_with_the_same_words() -> None:
    assert declaration(CODE) == declaration(replace(CODE, enabled=False, name="t"))
    assert declaration(CODE) != declaration(replace(CODE, catch_up="all"))


def test_each_value_follows_its_own_side() -> None:
    has = replace(CODE, timezone="Asia/Tokyo", enabled=False)
    says = replace(CODE, timezone="Europe/Berlin", max_attempts=2)

    assert followed(stored(has), says) == replace(
        CODE, timezone="Asia/Tokyo", enabled=False, max_attempts=2
    )


def test_a_pause_by_hand_outlives_another_expression() -> None:
    paused = stored(replace(CODE, enabled=False))

    assert followed(paused, replace(CODE, cron_expr="@hourly")) == replace(
        CODE, cron_expr="@hourly", enabled=False
    )
