"""The jobs that schedules made: the last of each, those of a window, one by one."""

from __future__ import annotations

import pytest

from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.outcomes import Dead, Done
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import OWNER, claim_one, finish
from tests.support.sql import Sql


def schedule(storage: Storage, name: str) -> None:
    storage.cron.create(
        ScheduleDefinition(name=name, kind="report", cron_expr="* * * * *")
    )


def fire(storage: Storage, sql: Sql, name: str) -> None:
    """Let a minute pass, and make the job of a schedule."""
    sql.age(60)
    job = storage.cron.get(name).definition.job(lambda _kind: "mail")
    made = storage.jobs.enqueue(job).id
    sql.run("UPDATE forge_job SET fire_at = enqueued_at WHERE id = ?", made)


def ids(sql: Sql, name: str) -> list[str]:
    rows = sql.run(
        "SELECT id FROM forge_job WHERE schedule_name = ? ORDER BY enqueued_at", name
    )
    return [job_id for (job_id,) in rows]


def test_each_schedule_has_its_newest_run(storage: Storage, sql: Sql) -> None:
    for name in ("never", "often"):
        schedule(storage, name)
    for outcome in (Done(), Dead("no mailbox")):
        fire(storage, sql, "often")
        finish(storage, claim_one(storage, queue_name="mail"), outcome)

    never, often = storage.cron_history.lines(9)

    assert (never.name, never.last_run, never.enabled) == ("never", None, True)
    assert never.next_fire_at is not None
    run = often.last_run
    assert run is not None
    assert run.job_id == ids(sql, "often")[-1]
    assert (run.status, run.error, run.attempts) == ("dead", "no mailbox", 1)
    assert (run.queue_name, run.kind) == ("mail", "report")
    assert run.run_ms is not None
    assert run.fire_at is not None
    assert [line.name for line in storage.cron_history.lines(1)] == ["never"]


def test_a_run_under_way_has_its_progress_and_no_duration(
    storage: Storage, sql: Sql
) -> None:
    schedule(storage, "often")
    fire(storage, sql, "often")
    (waiting,) = storage.cron_history.lines(9)
    job = claim_one(storage, queue_name="mail")
    storage.jobs.heartbeat(OWNER, {job.id: '{"pct":50}'})
    (running,) = storage.cron_history.lines(9)

    for line, status in ((waiting, "pending"), (running, "in_progress")):
        assert line.last_run is not None
        assert (line.last_run.status, line.last_run.run_ms) == (status, None)
    assert running.last_run is not None
    assert running.last_run.progress == '{"pct":50}'
    finish(storage, job, Done())
    (done,) = storage.cron_history.lines(9)
    assert done.last_run is not None
    assert done.last_run.progress is None


def test_the_newest_firings_of_a_window(storage: Storage, sql: Sql) -> None:
    for name in ("a", "b"):
        schedule(storage, name)
    for _ in range(4):
        fire(storage, sql, "a")
    fire(storage, sql, "b")
    first, *rest = ids(sql, "a")
    at = int(sql.value("SELECT enqueued_at FROM forge_job WHERE id = ?", first))
    end = sql.now_us() + 1

    whole = storage.cron_history.fired(["a", "b", "c"], at, end, each=9)
    later = storage.cron_history.fired(["a"], at + 1, end, each=9)
    newest = storage.cron_history.fired(["a", "b"], at, end, each=2)

    assert [each.job_id for each in whole["a"]] == [first, *rest][::-1]
    assert len(whole["b"]) == 1
    assert whole["c"] == []
    assert [each.job_id for each in later["a"]] == rest[::-1]
    assert [each.job_id for each in newest["a"]] == rest[:0:-1]
    assert len(newest["b"]) == 1
    assert storage.cron_history.fired(["a"], 0, at, each=9) == {"a": []}


def test_runs_go_on_after_a_place(storage: Storage, sql: Sql) -> None:
    schedule(storage, "a")
    for _ in range(3):
        fire(storage, sql, "a")
    found = ids(sql, "a")[::-1]

    newest, second = storage.cron_history.runs("a", 2)
    at = int(sql.value("SELECT enqueued_at FROM forge_job WHERE id = ?", second.job_id))
    rest = storage.cron_history.runs("a", 2, (at, second.job_id))

    assert [newest.job_id, second.job_id, *(run.job_id for run in rest)] == found
    assert storage.cron_history.runs("b", 2) == []


@pytest.mark.parametrize("trigger", [True, False])
def test_a_triggered_run_has_no_instant(
    storage: Storage, sql: Sql, *, trigger: bool
) -> None:
    schedule(storage, "a")
    if trigger:
        storage.jobs.enqueue(storage.cron.get("a").definition.job(lambda _kind: "mail"))
    else:
        fire(storage, sql, "a")

    (run,) = storage.cron_history.runs("a", 9)

    assert (run.fire_at is None) is trigger


def test_listed_schedules_have_their_newest_run(storage: Storage, sql: Sql) -> None:
    for name in ("never", "often"):
        schedule(storage, name)
    fire(storage, sql, "often")
    fire(storage, sql, "often")

    never, often = storage.cron_history.first(9, 99)
    without = storage.cron_history.first(9, 99, with_runs=False)

    assert (never.schedule, never.last_run) == (storage.cron.get("never"), None)
    assert often.schedule == storage.cron.get("often")
    assert often.last_run is not None
    assert often.last_run.job_id == ids(sql, "often")[-1]
    assert [each.schedule for each in without] == [never.schedule, often.schedule]
    assert [each.last_run for each in without] == [None, None]


@pytest.mark.parametrize(
    ("limit", "room", "names"),
    [(9, 99, "abcd"), (2, 99, "ab"), (9, 7, "a"), (9, 8, "ab"), (9, 15, "abc")],
)
def test_schedules_are_read_while_there_is_room_for_one_more(
    storage: Storage, limit: int, room: int, names: str
) -> None:
    """Small schedules do not let many large ones be read at once."""
    assert storage.cron_history.first(limit, room) == []
    for name in "abcd":
        storage.cron.create(
            ScheduleDefinition(name, "report", "* * * * *", payload='{"a":1}')
        )

    listed = storage.cron_history.first(limit, room)

    assert "".join(each.schedule.definition.name for each in listed) == names
