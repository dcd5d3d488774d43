"""The scheduler: the leader fires, the others stand in for it."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import cast

import pytest

from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.runtime.duties.cron import (
    LEADERS_TURN_S,
    LONGEST_PAUSE_S,
    SHORTEST_PAUSE_S,
    Scheduler,
    pause_until,
)
from flask_forge_jobs.runtime.duties.leader import Leader
from flask_forge_jobs.runtime.runtime import QueueRuntime
from flask_forge_jobs.storage.base import Storage
from tests.support.backends import sqlite_first
from tests.support.clocks import MovingClock
from tests.support.runtimes import QuickTask, registry_of, running
from tests.support.sql import Sql
from tests.support.waiting import wait_until

EVERY_SECOND = ScheduleDefinition("ticks", "quick", "* * * * * *")
YEARLY = ScheduleDefinition("yearly", "quick", "@yearly")


class Rank:
    """Stands for the leader's service."""

    def __init__(self, *, is_leader: bool) -> None:
        self.is_leader = is_leader


def route(kind: str) -> str:
    return {"quick": "of-quick"}[kind]


def scheduler(storage: Storage, *, is_leader: bool = True) -> Scheduler:
    return Scheduler(
        storage.cron,
        cast("Leader", Rank(is_leader=is_leader)),
        router=route,
        registry=registry_of(),
        clock=MovingClock(),
    )


def make_due(sql: Sql, late_s: float) -> None:
    sql.run(
        "UPDATE forge_cron SET next_fire_at = ?", sql.now_us() - int(late_s * SECOND_US)
    )


def count(sql: Sql) -> int:
    return int(sql.value("SELECT COUNT(*) FROM forge_job"))


@pytest.mark.parametrize(
    ("next_s", "pause_s"),
    [
        (None, LONGEST_PAUSE_S),
        (60.0, LONGEST_PAUSE_S),
        (5.0, 5.0),
        (3.25, 3.25),
        (0.5, 0.5),
        (0.01, SHORTEST_PAUSE_S),
        (0.0, SHORTEST_PAUSE_S),
    ],
)
def test_the_pause_is_bounded(next_s: float | None, pause_s: float) -> None:
    """sleep_until_next_clamps_to_bounds"""
    assert pause_until(next_s) == pause_s


def test_the_leader_fires_at_once_and_by_its_router(storage: Storage, sql: Sql) -> None:
    storage.cron.create(YEARLY)
    make_due(sql, 0)

    scheduler(storage).tick()

    assert sql.run("SELECT queue_name FROM forge_job") == [("of-quick",)]


def test_a_router_that_fails_keeps_no_other_schedule_from_firing(
    storage: Storage, sql: Sql
) -> None:
    storage.cron.create(replace(YEARLY, name="astray", kind="unknown"))
    storage.cron.create(YEARLY)
    make_due(sql, 0)

    scheduler(storage).tick()

    assert sql.run("SELECT schedule_name FROM forge_job") == [("yearly",)]
    assert storage.cron.get("astray").last_error == (
        "queue_name: the router failed for 'unknown': KeyError('unknown')"
    )


def test_the_leader_sleeps_until_the_next_firing(storage: Storage) -> None:
    leader = scheduler(storage)
    leader.tick()
    assert leader.pause_s() == LONGEST_PAUSE_S

    storage.cron.create(EVERY_SECOND)
    leader.tick()
    assert SHORTEST_PAUSE_S <= leader.pause_s() <= 1.0


def test_a_follower_fires_what_the_leader_left(storage: Storage, sql: Sql) -> None:
    follower = scheduler(storage, is_leader=False)
    storage.cron.create(YEARLY)
    make_due(sql, 0)

    follower.tick()
    assert (count(sql), follower.pause_s()) == (0, LONGEST_PAUSE_S)

    make_due(sql, LEADERS_TURN_S)
    follower.tick()
    assert count(sql) == 1


def test_what_cannot_fire_is_not_tried_without_a_pause(
    storage: Storage, sql: Sql
) -> None:
    storage.cron.create(YEARLY)
    make_due(sql, 5)
    sql.run("UPDATE forge_cron SET timezone = 'Mars/Olympus'")
    leader = scheduler(storage)

    leader.tick()

    assert leader.pause_s() == LONGEST_PAUSE_S


@sqlite_first
def test_two_workers_fire_each_second_once(storage: Storage, sql: Sql) -> None:
    storage.cron.create(EVERY_SECOND)
    task = QuickTask()
    registry = registry_of(task)

    with running(storage, registry), running(storage, registry):
        wait_until(lambda: len(task.job_ids) >= 3, "three firings have run")

    instants = [at for (at,) in sql.run("SELECT fire_at FROM forge_job ORDER BY id")]
    assert len(instants) >= 3
    assert instants == [instants[0] + n * SECOND_US for n in range(len(instants))]
    wait_until(
        lambda: sql.run("SELECT name FROM forge_lease") == [],
        "the lease is given back at the stop",
    )


def test_a_start_brings_the_code_into_the_table(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "flask_forge_jobs.runtime.runtime")
    registry = registry_of(QuickTask())
    registry.add_schedule(YEARLY)
    storage.cron.declare("shop", [replace(YEARLY, name="gone")])
    storage.cron.create(replace(EVERY_SECOND, enabled=False))
    registry.add_schedule(EVERY_SECOND)

    runtime = QueueRuntime(storage, registry).with_queues(["default"])
    runtime.with_schedules_of("shop").start().shutdown_graceful(0)

    found = {each.definition.name: each.declared_by for each in storage.cron.all()}
    assert found == {"yearly": "shop", "ticks": None}
    reason = "the name is taken by a schedule of an operator"
    told = [each.message for each in caplog.records if "cron" in each.message]
    assert told == [
        "cron schedules added: yearly",
        "cron schedules removed: gone",
        f"cron schedule ticks is ignored: {reason}",
    ]


def test_a_runtime_without_an_application_declares_nothing(storage: Storage) -> None:
    registry = registry_of(QuickTask())
    registry.add_schedule(YEARLY)
    storage.cron.declare("shop", [replace(YEARLY, name="kept")])

    with running(storage, registry):
        pass

    assert [each.definition.name for each in storage.cron.all()] == ["kept"]
