from __future__ import annotations

from datetime import UTC, datetime

import pytest

from flask_forge_jobs.errors import InvalidInputError, ScheduleNotFoundError
from flask_forge_jobs.handlers import cron
from flask_forge_jobs.handlers.redaction import Redactor
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.storage.base import Storage
from tests.support.sql import Sql

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
REDACTOR = Redactor()


def create(storage: Storage, name: str = "nightly") -> None:
    storage.cron.create(ScheduleDefinition(name, "send_digest", "0 6 * * *"))


@pytest.mark.parametrize("name", ["none", "", "a\x00b", "\ud800"])
def test_an_impossible_name_is_a_schedule_that_is_not_there(
    storage: Storage, name: str
) -> None:
    for verb in (
        lambda: cron.get_schedule(storage, name, redactor=REDACTOR),
        lambda: cron.change_schedule(storage, name, {"enabled": True}),
        lambda: cron.delete_schedule(storage, name),
        lambda: cron.trigger(storage, name, router=str),
    ):
        with pytest.raises(ScheduleNotFoundError):
            verb()


def test_secrets_are_masked_in_the_payload(storage: Storage) -> None:
    created = cron.create_schedule(
        storage, redactor=REDACTOR, name="n", kind="k", cron_expr="@daily",
        payload={"token": "s3cret", "plain": 1},
    )  # fmt: skip

    (listed,) = cron.list_schedules(storage, redactor=REDACTOR).schedules

    for detail in (created, listed):
        assert detail.payload == {"token": "[redacted]", "plain": 1}
    assert storage.cron.get("n").definition.payload == '{"token":"s3cret","plain":1}'


def test_a_damaged_payload_does_not_hide_the_schedules(
    storage: Storage, sql: Sql
) -> None:
    create(storage)
    sql.run("UPDATE forge_cron SET payload = '{'")

    (listed,) = cron.list_schedules(storage, redactor=REDACTOR).schedules

    assert listed.payload == "{"


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 48, 49])
def test_all_schedules_are_listed_while_they_are_few(
    storage: Storage, count: int
) -> None:
    names = [f"n{number:02}" for number in range(count)]
    for name in names:
        create(storage, name)

    found = cron.list_schedules(storage, redactor=REDACTOR)

    assert [each.schedule.definition.name for each in found.schedules] == names
    assert found.total == count


@pytest.mark.parametrize(
    ("limit", "value", "shown"),
    [("MAX_LISTED", 3, 3), ("MAX_LISTED", 20, 20), ("MAX_LISTED_BYTES", 4, 2)],
)
def test_a_list_of_schedules_has_an_end(
    storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    value: int,
    shown: int,
) -> None:
    for number in range(21):
        create(storage, f"n{number:02}")
    monkeypatch.setattr(cron, limit, value)

    found = cron.list_schedules(storage, redactor=REDACTOR)

    assert (len(list(found.schedules)), found.total) == (shown, 21)


def test_dedupe_keeps_a_custom_key(storage: Storage, sql: Sql) -> None:
    create(storage)
    sql.run("UPDATE forge_cron SET dedupe_key = 'custom'")

    cron.change_schedule(storage, "nightly", {"dedupe": True})
    assert storage.cron.get("nightly").definition.dedupe_key == "custom"
    cron.change_schedule(storage, "nightly", {"dedupe": False})
    assert storage.cron.get("nightly").definition.dedupe_key is None
    cron.change_schedule(storage, "nightly", {"dedupe": True})
    assert storage.cron.get("nightly").definition.dedupe_key == "nightly"


def test_a_preview_ends_with_the_last_firing() -> None:
    found = cron.preview(NOON, cron_expr="0 0 0 1 1 ? 2027-2029", count=10)

    assert (
        found.description
        == "At 00:00, on day 1 of the month, in January, in 2027 to 2029"
    )
    assert [instant.year for instant in found.next] == [2027, 2028, 2029]


def test_a_preview_is_read_by_the_clock_of_a_zone() -> None:
    found = cron.preview(NOON, cron_expr="0 6 * * *", timezone="Asia/Tokyo", count=1)

    assert found.next == [datetime(2026, 6, 1, 21, tzinfo=UTC)]


@pytest.mark.parametrize("count", [0, -1, 101])
def test_a_preview_has_its_bounds(count: int) -> None:
    with pytest.raises(InvalidInputError) as caught:
        cron.preview(NOON, cron_expr="0 6 * * *", count=count)

    assert caught.value.field == "count"
