"""Schedules: bounds, keys, the job of a firing, and what a change does."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import MAX_PAYLOAD_BYTES
from flask_forge_jobs.model.catch_up import CatchUp
from flask_forge_jobs.model.cron import (
    BAD_EXPRESSION,
    Schedule,
    ScheduleDefinition,
    declaration,
    followed,
)
from flask_forge_jobs.model.jobs import NewJob

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(days=3)
NIGHTLY = ScheduleDefinition("nightly", "send_digest", "0 6 * * *")
CODE = ScheduleDefinition("s", "k", "@daily")


def at_six(day: int) -> datetime:
    return datetime(2026, 6, day, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "a/b"),
        ("name", "x" * 129),
        ("kind", " "),
        ("kind", "x" * 129),
        ("payload", '"' + "x" * MAX_PAYLOAD_BYTES + '"'),
        ("queue_name", ""),
        ("queue_name", "a,b"),
        ("cron_expr", "whenever"),
        ("cron_expr", "0 6 * * 8"),
        ("timezone", "Mars/Olympus"),
        ("timezone", "../../etc/passwd"),
        ("max_attempts", 0),
        ("max_attempts", 1001),
        ("dedupe_key", ""),
        ("dedupe_key", "x" * 256),
    ],
)
def test_a_definition_beyond_its_bounds_names_the_field(field: str, value: Any) -> None:
    with pytest.raises(InvalidInputError) as caught:
        replace(NIGHTLY, **{field: value}).check()

    assert caught.value.field == field


def test_a_new_schedule_knows_when_it_fires() -> None:
    schedule = Schedule.new(NIGHTLY, NOON)

    assert schedule.next_fire_at == at_six(2)
    assert (schedule.created_at, schedule.updated_at) == (NOON, NOON)
    assert (schedule.last_fired_at, schedule.last_error) == (None, None)


def test_a_new_schedule_fires_by_the_clock_of_its_zone() -> None:
    schedule = Schedule.new(replace(NIGHTLY, timezone="Europe/Berlin"), NOON)

    assert schedule.next_fire_at == at_six(2) - timedelta(hours=2)


@pytest.mark.parametrize("enabled", [True, False])
def test_what_never_fires_is_refused(*, enabled: bool) -> None:
    with pytest.raises(InvalidInputError, match="no occurrence from now to the end"):
        Schedule.new(replace(NIGHTLY, cron_expr="0 0 31 2 *", enabled=enabled), NOON)


def test_a_disabled_schedule_has_no_next_firing() -> None:
    assert Schedule.new(replace(NIGHTLY, enabled=False), NOON).next_fire_at is None


def test_the_job_of_a_firing() -> None:
    definition = replace(NIGHTLY, payload='{"n":1}', max_attempts=3, dedupe_key="key")

    assert definition.job(lambda kind: f"of_{kind}") == NewJob(
        "send_digest", '{"n":1}', queue_name="of_send_digest", max_attempts=3,
        dedupe_key="key", schedule_name="nightly",
    )  # fmt: skip
    pinned = replace(NIGHTLY, queue_name="mail").job(lambda _kind: "unasked")
    assert (pinned.queue_name, pinned.max_attempts, pinned.dedupe_key) == (
        "mail", 5, None,
    )  # fmt: skip


def test_dedupe_keeps_a_key_and_removes_any() -> None:
    custom = replace(NIGHTLY, dedupe_key="custom")

    assert NIGHTLY.deduped(True).dedupe_key == "nightly"
    assert custom.deduped(True) == custom
    assert custom.deduped(False).dedupe_key is None


# -- changes -----------------------------------------------------------------------


def test_the_same_definition_changes_nothing() -> None:
    schedule = Schedule.new(NIGHTLY, NOON)

    assert schedule.revised(replace(NIGHTLY), LATER) is schedule


def test_a_change_of_the_job_leaves_a_due_firing_due() -> None:
    schedule = replace(Schedule.new(NIGHTLY, NOON), last_error="boom")

    changed = schedule.revised(replace(NIGHTLY, kind="other"), LATER)

    assert changed.next_fire_at == at_six(2)
    assert (changed.updated_at, changed.created_at) == (LATER, NOON)
    assert (changed.definition.kind, changed.last_error) == ("other", "boom")


@pytest.mark.parametrize(
    ("field", "value", "hour"),
    [("cron_expr", "0 7 * * *", 7), ("timezone", "Africa/Abidjan", 6)],
)
def test_other_times_begin_the_series_anew(field: str, value: str, hour: int) -> None:
    schedule = replace(Schedule.new(NIGHTLY, NOON), last_error="boom")

    changed = schedule.revised(replace(NIGHTLY, **{field: value}), LATER)  # type: ignore[arg-type]  # text fields

    assert changed.next_fire_at == at_six(5).replace(hour=hour)
    assert changed.last_error is None


def test_disabling_forgets_the_next_firing_and_keeps_the_error() -> None:
    schedule = replace(Schedule.new(NIGHTLY, NOON), last_error="boom")

    changed = schedule.revised(replace(NIGHTLY, enabled=False), LATER)

    assert (changed.next_fire_at, changed.last_error) == (None, "boom")


def test_enabling_begins_anew_and_clears_the_error() -> None:
    disabled = replace(NIGHTLY, enabled=False)
    schedule = replace(Schedule.new(disabled, NOON), last_error="boom")

    changed = schedule.revised(NIGHTLY, LATER)

    assert (changed.next_fire_at, changed.last_error) == (at_six(5), None)


def test_a_disabled_schedule_may_be_edited_whatever_its_expression() -> None:
    """Its expression was stored by another version or by hand"""
    definition = replace(NIGHTLY, cron_expr="whenever", enabled=False)
    schedule = Schedule(definition, NOON, NOON, last_error=f"{BAD_EXPRESSION}hm")

    changed = schedule.revised(replace(definition, kind="other"), LATER)

    assert changed.definition.kind == "other"
    with pytest.raises(InvalidInputError):
        schedule.revised(replace(definition, enabled=True), LATER)


@pytest.mark.parametrize(
    ("enabled", "error", "is_enabled"),
    [
        (False, f"{BAD_EXPRESSION}hm", True),
        (False, "the database was gone", False),
        (False, None, False),
        (True, None, True),
    ],
)
def test_a_good_expression_enables_what_a_bad_one_disabled(
    *, enabled: bool, error: str | None, is_enabled: bool
) -> None:
    definition = replace(NIGHTLY, cron_expr="whenever", enabled=enabled)
    schedule = Schedule(definition, NOON, NOON, last_error=error)

    wanted = schedule.with_expression("0 7 * * *")

    assert (wanted.cron_expr, wanted.enabled) == ("0 7 * * *", is_enabled)
    assert schedule.revised(wanted, LATER).last_error is None


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"}, {"kind": "other"}, {"cron_expr": "1 3 * * *"},
        {"payload": "[]"}, {"queue_name": "mail"}, {"timezone": "Europe/Paris"},
        {"enabled": False}, {"max_attempts": 5}, {"dedupe_key": "x"},
        {"catch_up": CatchUp.ALL}, {"catch_up_limit": 7},
    ],
)  # fmt: skip
def test_digest_changes_with_every_value(change: dict[str, Any]) -> None:
    some = ScheduleDefinition("nightly", "digest", "0 3 * * *")

    assert re.fullmatch("[0-9a-f]{16}", some.digest())
    assert some.digest() == replace(some).digest()
    assert some.digest() != replace(some, **change).digest()


@pytest.mark.parametrize("payload", ["{bad", '{"a":1,"a":2}', "NaN", '"\\u0000"'])
def test_a_schedules_payload_is_strict_json(payload: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        replace(NIGHTLY, payload=payload).check()

    assert raised.value.field == "payload"


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
