from __future__ import annotations

import logging
from typing import cast

import pytest

from flask_forge_jobs.model.batches import NewBatch
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.runtime.duties.batch_checks import BatchChecks
from flask_forge_jobs.runtime.duties.leader import Leader
from flask_forge_jobs.storage.base import Storage
from tests.runtime.duties.test_gauges import Rank
from tests.support.clocks import MovingClock
from tests.support.sql import Sql


def checks(storage: Storage, *, is_leader: bool = True) -> BatchChecks:
    rank = cast("Leader", Rank(is_leader=is_leader))
    return BatchChecks(storage.batch_checker, rank, clock=MovingClock(0))


def test_the_leader_corrects_counts_and_says_so(
    storage: Storage, sql: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    batch = storage.batches.create(NewBatch("report\x1b[2J"), [NewJob("part")]).id
    storage.batches.tend()
    sql.age(61)
    sql.run("UPDATE forge_batch SET total = 3")
    assert checks(storage, is_leader=False).tick() is False
    assert storage.batches.get(batch).total == 3

    assert checks(storage).tick() is True

    assert storage.batches.get(batch).unfinished == 1
    [message] = [each.getMessage() for each in caplog.records]
    assert message == (
        f"batch {batch} (report\\x1b[2J): corrected its counts, which had 3 unfinished "
        "jobs where there are 1"
    )
    caplog.clear()
    assert checks(storage).tick() is True
    assert not caplog.records


def test_a_tick_without_open_batches_is_two_statements(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.open()
    asked: list[str] = []
    real = type(storage.database).read_one

    def read_one(database: object, name: str, **values: object) -> object:
        asked.append(name)
        return real(database, name, **values)  # type: ignore[arg-type]

    monkeypatch.setattr(type(storage.database), "read_one", read_one)

    checks(storage).tick()

    assert asked == ["stale_batches"]
