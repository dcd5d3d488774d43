"""Lets the scheduler be down for ten minutes: each policy must be exact (E5).

Schedules are due since ten minutes ago, as they are after ten minutes without a worker;
then a real worker starts and makes up for what was missed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flask_forge_jobs import Storage, open_storage
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.cron import Schedule, ScheduleDefinition
from flask_forge_jobs.model.instants import SECOND_US, from_micros
from tests.acceptance.fleet import Fleet, started
from tests.support.sql import Sql
from tests.support.waiting import wait_until

MINUTES = 10
MINUTE_US = 60 * SECOND_US
QUEUE = "made-up"
POLICIES = (("skip", 100), ("once", 100), ("all", 100), ("all", 4), ("all", 1))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one schedule.

    The instants are in order, the oldest first.
    """

    policy: tuple[str, int]
    missed: Sequence[int]
    fired: Sequence[int]

    @property
    def expected(self) -> Sequence[int]:
        """Which ones the policy wants."""
        word, limit = self.policy
        most = {"skip": 0, "once": 1, "all": limit}[word]
        return self.missed[-most:] if most else []


def run(database_url: str, folder: Path) -> list[Outcome]:
    """Do it, and return what became of each schedule."""
    settings = DatabaseSettings.from_url(database_url)
    sql = Sql(settings)
    fleet = Fleet(database_url, folder, sql, threads=1, lease_s=60.0)
    with contextlib.closing(open_storage(settings)) as storage:
        storage.open()
        missed = _create(storage, sql)
        with started(fleet, 1):
            wait_until(lambda: not _due(storage, sql), "nothing is due any more")
            assert fleet.stop() == []
        return [
            _outcome(sql, storage.cron.get(_name(policy)), policy, missed)
            for policy in POLICIES
        ]


def _name(policy: tuple[str, int]) -> str:
    word, limit = policy
    return f"{word}-{limit}"


def _create(storage: Storage, sql: Sql) -> Sequence[int]:
    """Store the schedules as they were when nobody fired them; return the instants."""
    latest_us = sql.now_us() // MINUTE_US * MINUTE_US
    missed = range(latest_us - (MINUTES - 1) * MINUTE_US, latest_us + 1, MINUTE_US)
    # Only these minutes of each hour, so that no further one begins meanwhile.
    minutes = ",".join(str(from_micros(each).minute) for each in missed)
    for policy in POLICIES:
        word, limit = policy
        storage.cron.create(
            ScheduleDefinition(
                _name(policy), "tick", f"{minutes} * * * *", queue_name=QUEUE,
                catch_up=word, catch_up_limit=limit,
            )
        )  # fmt: skip
    sql.run("UPDATE forge_cron SET next_fire_at = ?", missed[0])
    return missed


def _due(storage: Storage, sql: Sql) -> list[Schedule]:
    now = from_micros(sql.now_us())
    return [
        each
        for each in storage.cron.all()
        if each.next_fire_at is not None and each.next_fire_at <= now
    ]


def _outcome(
    sql: Sql, after: Schedule, policy: tuple[str, int], missed: Sequence[int]
) -> Outcome:
    # The series goes on an hour after the first one that was missed.
    assert after.next_fire_at == from_micros(missed[0] + 60 * MINUTE_US)
    fired = sql.run(
        "SELECT fire_at FROM forge_job WHERE schedule_name = ? ORDER BY id",
        after.definition.name,
    )
    return Outcome(policy, missed, [instant for (instant,) in fired])
