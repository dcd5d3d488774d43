from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flask_forge_jobs.errors import InvalidInputError, ScheduleNotFoundError
from flask_forge_jobs.handlers import cron_history
from flask_forge_jobs.handlers.cron_history import firings, list_runs
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.storage.base import Storage
from tests.support.sql import Sql

NOON = datetime(2027, 1, 1, 12, tzinfo=UTC)


def schedule(storage: Storage, name: str, expression: str = "0 * * * *") -> None:
    definition = ScheduleDefinition(name=name, kind="k", cron_expr=expression)
    storage.cron.create(definition)


def trigger(storage: Storage, name: str, times: int = 1) -> list[str]:
    job = storage.cron.get(name).definition.job(lambda _kind: "mail")
    return [storage.jobs.enqueue(job).id for _ in range(times)]


def test_a_window_lies_around_now_by_default(storage: Storage, sql: Sql) -> None:
    schedule(storage, "hourly")
    (job_id,) = trigger(storage, "hourly")
    now = from_micros(sql.now_us())

    window = firings(storage, now)

    assert (window.start, window.end) == (
        now - timedelta(hours=12),
        now + timedelta(hours=12),
    )
    (found,) = window.schedules
    assert [each.job_id for each in found.fired] == [job_id]
    assert len(found.to_come) == 12
    assert found.to_come[0] == found.line.next_fire_at
    assert (found.fired_cut, found.to_come_cut, window.is_whole) == (
        False, False, True,
    )  # fmt: skip
    assert found.line.last_run is not None
    assert found.line.last_run.job_id == job_id


def test_too_many_firings_are_cut_and_said_to_be(
    storage: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule(storage, "often", "* * * * *")
    made = trigger(storage, "often", 4)
    monkeypatch.setattr(cron_history, "MAX_FIRINGS", 3)

    (found,) = firings(storage, from_micros(sql.now_us())).schedules

    assert [each.job_id for each in found.fired] == made[1:]
    assert len(found.to_come) == 3
    assert (found.fired_cut, found.to_come_cut) == (True, True)


def test_too_many_schedules_are_cut(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        schedule(storage, name)
    monkeypatch.setattr(cron_history, "MAX_SCHEDULES", 2)

    window = firings(storage, NOON)

    assert [each.line.name for each in window.schedules] == ["a", "b"]
    assert not window.is_whole


def test_many_schedules_share_the_answer(
    storage: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        schedule(storage, name, "* * * * *")
    monkeypatch.setattr(cron_history, "MAX_FIRINGS_IN_ALL", 10)

    window = firings(storage, from_micros(sql.now_us()))

    assert [len(each.to_come) for each in window.schedules] == [5, 5]


def test_a_window_of_the_past_has_nothing_to_come(storage: Storage, sql: Sql) -> None:
    schedule(storage, "hourly")
    trigger(storage, "hourly")
    now = from_micros(sql.now_us())
    yesterday = now - timedelta(days=1)

    window = firings(storage, now, start=yesterday - timedelta(hours=1), end=yesterday)

    (found,) = window.schedules
    assert (found.fired, found.to_come) == ([], [])


def test_a_window_of_the_future_begins_where_it_says(
    storage: Storage, sql: Sql
) -> None:
    schedule(storage, "hourly")
    start = from_micros(sql.now_us()) + timedelta(days=2)

    (found,) = firings(
        storage, start - timedelta(days=2), start=start, end=start + timedelta(hours=3)
    ).schedules

    assert len(found.to_come) == 3
    assert all(start <= at < start + timedelta(hours=3) for at in found.to_come)


def test_a_disabled_schedule_has_nothing_to_come(storage: Storage, sql: Sql) -> None:
    schedule(storage, "hourly")
    sql.run("UPDATE forge_cron SET enabled = FALSE")

    (found,) = firings(storage, from_micros(sql.now_us())).schedules

    assert (found.to_come, found.line.enabled) == ([], False)


def test_a_row_that_was_written_by_hand_ends_at_its_next_firing(
    storage: Storage, sql: Sql
) -> None:
    schedule(storage, "hourly")
    sql.run("UPDATE forge_cron SET cron_expr = 'nonsense', timezone = 'nowhere'")

    (found,) = firings(storage, from_micros(sql.now_us())).schedules

    assert len(found.to_come) == 1


@pytest.mark.parametrize(
    ("start", "end", "field"),
    [
        (NOON, NOON, "from"),
        (NOON, NOON - timedelta(hours=1), "from"),
        (NOON, NOON + timedelta(days=31, seconds=1), "to"),
    ],
)
def test_a_window_out_of_bounds_is_refused(
    storage: Storage, start: datetime, end: datetime, field: str
) -> None:
    with pytest.raises(InvalidInputError) as error:
        firings(storage, NOON, start=start, end=end)

    assert error.value.field == field


def test_runs_are_chained_by_their_cursor(storage: Storage) -> None:
    schedule(storage, "hourly")
    made = trigger(storage, "hourly", 5)

    seen, cursor = [], None
    while True:
        page = list_runs(storage, "hourly", limit=2, cursor=cursor)
        seen += [run.job_id for run in page.rows]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert seen == made[::-1]


def test_runs_of_a_deleted_schedule_are_found_and_of_an_unknown_one_not(
    storage: Storage,
) -> None:
    schedule(storage, "gone")
    trigger(storage, "gone")
    storage.cron.delete("gone")
    schedule(storage, "new")

    assert len(list_runs(storage, "gone").rows) == 1
    assert list_runs(storage, "new").rows == []
    for name in ("unknown", "\0"):
        with pytest.raises(ScheduleNotFoundError):
            list_runs(storage, name)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [({"limit": 0}, "limit"), ({"limit": 201}, "limit"), ({"cursor": "x"}, "cursor")],
)
def test_values_out_of_bounds_are_refused(
    storage: Storage, arguments: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidInputError) as error:
        list_runs(storage, "a", **arguments)  # type: ignore[arg-type]  # what is tested

    assert error.value.field == field
