"""``@forge.cron`` on tasks and plain functions."""

from __future__ import annotations

from typing import Any

import pytest

from flask_forge_jobs import ForgeJobs, InvalidInputError, Task
from flask_forge_jobs.model.cron import ScheduleDefinition


@pytest.fixture
def forge() -> ForgeJobs:
    return ForgeJobs()


def test_a_task_gets_a_schedule(forge: ForgeJobs) -> None:
    @forge.cron("*/5 * * * *", timezone="Europe/Madrid")
    @forge.task(kind="tidy-up", queue="night", max_attempts=2)
    def tidy() -> int:
        return 7

    assert isinstance(tidy, Task)
    assert tidy() == 7
    assert forge.registry.schedules() == [
        ScheduleDefinition(
            "tidy-up", "tidy-up", "*/5 * * * *", timezone="Europe/Madrid",
            queue_name="night", max_attempts=2,
        )
    ]  # fmt: skip


def test_a_function_becomes_a_task(forge: ForgeJobs) -> None:
    @forge.cron("@daily")
    def tidy() -> None: ...

    assert isinstance(tidy, Task)
    assert forge.registry.get("tidy") is tidy
    assert [each.kind for each in forge.registry.schedules()] == ["tidy"]


def test_several_schedules_have_names(forge: ForgeJobs) -> None:
    @forge.cron("@hourly", arguments={"deep": False}, dedupe=True)
    @forge.cron(
        "@weekly", name="deep", arguments={"deep": True}, catch_up="all",
        catch_up_limit=3,
    )  # fmt: skip
    @forge.task
    def tidy(deep: bool) -> None: ...

    deep, tidying = forge.registry.schedules()
    assert (deep.name, deep.payload, deep.dedupe_key) == ("deep", '{"deep":true}', None)
    assert (deep.catch_up, deep.catch_up_limit) == ("all", 3)
    assert (tidying.name, tidying.payload) == ("tidy", '{"deep":false}')
    assert tidying.dedupe_key == "tidy"


def test_one_name_for_two_schedules_is_refused(forge: ForgeJobs) -> None:
    @forge.task
    def tidy() -> None: ...

    forge.cron("@hourly")(tidy)
    forge.cron("@hourly")(tidy)  # the same again, by a factory that is called twice

    with pytest.raises(InvalidInputError, match="two schedules are named 'tidy'"):
        forge.cron("@daily")(tidy)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("cron_expr", {"cron_expr": "whenever"}),
        ("timezone", {"timezone": "Mars/Olympus"}),
        ("name", {"name": "a/b"}),
        ("catch_up", {"catch_up": "twice"}),
        ("catch_up_limit", {"catch_up_limit": 0}),
    ],
)
def test_a_wrong_value_shows_when_the_module_is_imported(
    forge: ForgeJobs, field: str, values: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        forge.cron(**{"cron_expr": "@daily"} | values)

    assert caught.value.field == field


@pytest.mark.parametrize("arguments", [None, {"nobody": 1}, {"user_id": object()}])
def test_arguments_must_fit_the_function(forge: ForgeJobs, arguments: Any) -> None:
    def greet(user_id: int) -> None: ...

    with pytest.raises(InvalidInputError) as caught:
        forge.cron("@daily", arguments=arguments)(greet)

    assert caught.value.field in ("arguments", "payload.user_id")
    assert forge.registry.schedules() == []
