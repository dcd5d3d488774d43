"""Schedules of an application's code, kept in step with the table on both backends."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from flask_forge_jobs.model.cron import (
    BAD_EXPRESSION,
    DeclarationReport,
    Schedule,
    ScheduleDefinition,
)
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.storage.base import Storage
from tests.contract.test_cron import lossy_cron
from tests.support.sql import Sql
from tests.support.threads import run_together

APP = "shop"
NIGHTLY = ScheduleDefinition("nightly", "send_digest", "0 6 * * *")
HOURLY = ScheduleDefinition("hourly", "tidy", "@hourly", payload='{"deep":true}')
NOTHING = DeclarationReport()


def declare(storage: Storage, *definitions: ScheduleDefinition) -> DeclarationReport:
    return storage.cron.declare(APP, definitions)


def edit(storage: Storage, name: str, **values: object) -> Schedule:
    """Change a schedule as an operator does."""
    return storage.cron.change(
        name,
        lambda schedule: replace(schedule.definition, **values),  # type: ignore[arg-type]
    )


def test_new_schedules_are_added(storage: Storage) -> None:
    assert declare(storage, NIGHTLY, HOURLY).added == ("hourly", "nightly")

    found = storage.cron.get("hourly")
    assert found.definition == HOURLY
    assert (found.declared_by, found.definition.enabled) == (APP, True)
    assert found.next_fire_at is not None


def test_what_is_in_step_is_not_written(storage: Storage, sql: Sql) -> None:
    declare(storage, NIGHTLY, HOURLY)
    sql.run("UPDATE forge_cron SET next_fire_at = 5, updated_at = 7")

    assert declare(storage, HOURLY, NIGHTLY) == NOTHING
    assert storage.cron.get("nightly").updated_at == from_micros(7)


def test_what_the_code_changes_is_changed(storage: Storage) -> None:
    declare(storage, NIGHTLY, HOURLY)
    changed = replace(
        NIGHTLY, kind="other", payload="{}", queue_name="mail", cron_expr="0 7 * * *",
        timezone="Europe/Madrid", max_attempts=3, dedupe_key="nightly",
        catch_up="all", catch_up_limit=9,
    )  # fmt: skip

    assert declare(storage, changed, HOURLY) == DeclarationReport(changed=("nightly",))

    assert storage.cron.get("nightly").definition == changed
    assert declare(storage, changed, HOURLY) == NOTHING


def test_another_time_begins_the_series_anew(storage: Storage, sql: Sql) -> None:
    declare(storage, NIGHTLY)
    sql.run("UPDATE forge_cron SET next_fire_at = 5, last_error = 'old'")

    declare(storage, replace(NIGHTLY, kind="other"))
    assert storage.cron.get("nightly").next_fire_at == from_micros(5)  # still due

    declare(storage, replace(NIGHTLY, kind="other", cron_expr="0 7 * * *"))
    after = storage.cron.get("nightly")
    assert after.next_fire_at is not None
    assert after.next_fire_at > from_micros(sql.now_us())
    assert after.last_error is None


def test_what_the_code_no_longer_has_is_removed(storage: Storage) -> None:
    declare(storage, NIGHTLY, HOURLY)
    edit(storage, "nightly", enabled=False)

    assert declare(storage, HOURLY) == DeclarationReport(removed=("nightly",))
    assert [each.definition.name for each in storage.cron.all()] == ["hourly"]
    assert declare(storage) == DeclarationReport(removed=("hourly",))


def test_what_an_operator_changed_stays(storage: Storage) -> None:
    """ensure_schedule never overwrites"""
    declare(storage, NIGHTLY)
    edit(storage, "nightly", cron_expr="0 9 * * *", max_attempts=2, enabled=False)

    assert declare(storage, NIGHTLY) == NOTHING
    # A new release changes two values, one of which the operator has chosen.
    release = replace(NIGHTLY, cron_expr="0 7 * * *", kind="other")
    assert declare(storage, release) == DeclarationReport(changed=("nightly",))

    assert storage.cron.get("nightly").definition == replace(
        release, cron_expr="0 9 * * *", max_attempts=2, enabled=False
    )


def test_what_an_operator_took_back_follows_the_code_again(storage: Storage) -> None:
    declare(storage, NIGHTLY)
    edit(storage, "nightly", cron_expr="0 9 * * *")
    edit(storage, "nightly", cron_expr=NIGHTLY.cron_expr)

    declare(storage, replace(NIGHTLY, cron_expr="0 7 * * *"))

    assert storage.cron.get("nightly").definition.cron_expr == "0 7 * * *"


def test_what_an_operator_deleted_comes_back(storage: Storage) -> None:
    declare(storage, NIGHTLY)
    storage.cron.delete("nightly")

    assert declare(storage, NIGHTLY) == DeclarationReport(added=("nightly",))


def test_a_schedule_of_an_operator_is_left_alone(storage: Storage) -> None:
    by_hand = storage.cron.create(NIGHTLY)

    report = declare(storage, replace(NIGHTLY, cron_expr="@daily"), HOURLY)

    reason = "the name is taken by a schedule of an operator"
    assert report == DeclarationReport(("hourly",), refused=(("nightly", reason),))
    assert storage.cron.get("nightly") == by_hand
    assert declare(storage).removed == ("hourly",)
    assert storage.cron.all() == [by_hand]


def test_applications_do_not_touch_each_others(storage: Storage) -> None:
    declare(storage, NIGHTLY)

    report = storage.cron.declare("office", [NIGHTLY, HOURLY])

    reason = "the name is taken by a schedule of shop"
    assert report == DeclarationReport(("hourly",), refused=(("nightly", reason),))
    assert declare(storage).removed == ("nightly",)
    assert storage.cron.get("hourly").declared_by == "office"


def test_one_that_never_fires_keeps_no_other_out(storage: Storage) -> None:
    report = declare(storage, replace(NIGHTLY, cron_expr="0 0 31 2 *"), HOURLY)

    ((name, reason),) = report.refused
    assert (name, report.added) == ("nightly", ("hourly",))
    assert "has no occurrence" in reason


def test_code_repairs_what_its_expression_disabled(storage: Storage, sql: Sql) -> None:
    declare(storage, NIGHTLY)
    sql.run(
        "UPDATE forge_cron SET enabled = FALSE, next_fire_at = NULL, last_error = ?",
        f"{BAD_EXPRESSION}hm",
    )

    declare(storage, replace(NIGHTLY, cron_expr="@daily"))

    after = storage.cron.get("nightly")
    assert (after.definition.enabled, after.last_error) == (True, None)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"kind":5}'])
def test_a_damaged_declaration_counts_as_an_operators(
    storage: Storage, sql: Sql, text: str
) -> None:
    declare(storage, NIGHTLY)
    sql.run("UPDATE forge_cron SET declared_as = ?", text)

    declare(storage, replace(NIGHTLY, kind="other"))
    assert storage.cron.get("nightly").definition == NIGHTLY

    declare(storage, NIGHTLY)
    declare(storage, replace(NIGHTLY, kind="other"))
    assert storage.cron.get("nightly").definition.kind == "other"


def test_an_unclear_commit_declares_once(storage: Storage) -> None:
    lossy_cron(storage).declare(APP, [NIGHTLY])

    assert [each.definition for each in storage.cron.all()] == [NIGHTLY]


def test_processes_that_start_together_agree(storage: Storage) -> None:
    for release in range(3):
        code = [
            replace(NIGHTLY, name=f"s{number}", payload=str(release))
            for number in range(release, release + 4)
        ]
        run_together(
            [
                partial(storage.cron.declare, APP, code[:: 1 - 2 * (n % 2)])
                for n in range(6)
            ]
        )

        assert [each.definition for each in storage.cron.all()] == code
