"""How long and how often we poll for jobs in callers' transactions."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import cast

import pytest

from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.model.jobs import EnqueueResult, JobStatus
from flask_forge_jobs.storage import uncommitted
from flask_forge_jobs.storage.database import Database, Row
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.storage.uncommitted import GIVE_UP_AFTER_S, Uncommitted
from tests.support.clocks import MovingClock
from tests.support.processes import fork_in_c, in_child


class Table:
    """Holds the ids of the jobs that have been committed."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.looks: list[list[str]] = []
        self.is_away = False

    def read_one(self, name: str, /, *, rows: str) -> list[Row]:
        assert name == "statuses"
        if self.is_away:
            raise StorageUnavailableError("away")
        wanted = [row["job_id"] for row in json.loads(rows)]
        self.looks.append(wanted)
        return [(job_id, "pending") for job_id in wanted if job_id in self.ids]


class Rig:
    def __init__(self) -> None:
        self.clock = MovingClock()
        self.table = Table()
        self.recorder = Recorder(self.clock)
        self.activities = 0
        self.recorder.on_activity = self._activity
        self.waiting = Uncommitted(
            cast("Database", self.table), self.recorder, self.clock
        )

    def _activity(self) -> None:
        self.activities += 1

    def counted(self) -> int:
        return sum(tally.enqueued for tally in self.recorder.take().values())


@pytest.fixture
def rig() -> Rig:
    return Rig()


def result(job_id: str, *, is_deduped: bool = False) -> EnqueueResult:
    return EnqueueResult(job_id, is_deduped, "mail", "send", JobStatus.PENDING, 0)


def test_what_has_been_committed_is_counted_once(rig: Rig) -> None:
    rig.waiting.add([result("a"), result("b"), result("held", is_deduped=True)])
    rig.table.ids |= {"a", "held"}

    rig.waiting.count_committed()

    assert (rig.activities, rig.counted()) == (1, 1)
    rig.clock.move(5)
    rig.waiting.count_committed()
    assert rig.table.looks == [["a", "b"], ["b"]]
    assert (rig.counted(), rig.waiting.is_waiting) == (0, True)


def test_nothing_is_looked_for_without_a_job(rig: Rig) -> None:
    rig.waiting.add([result("held", is_deduped=True)])
    rig.waiting.count_committed()

    assert (rig.table.looks, rig.activities, rig.waiting.is_waiting) == ([], 0, False)


def test_a_job_is_looked_for_ever_more_rarely_and_then_given_up(rig: Rig) -> None:
    rig.waiting.add([result("a")])
    seconds = 0
    while rig.waiting.is_waiting:
        rig.waiting.count_committed()
        rig.clock.move(1)
        seconds += 1

    assert GIVE_UP_AFTER_S < seconds <= 2 * GIVE_UP_AFTER_S
    assert 8 <= len(rig.table.looks) <= 14


def test_a_database_that_is_away_loses_nothing(rig: Rig) -> None:
    rig.waiting.add([result("a")])
    rig.table.ids.add("a")
    rig.table.is_away = True
    with pytest.raises(StorageUnavailableError):
        rig.waiting.count_committed()
    rig.table.is_away = False

    rig.waiting.count_committed()

    assert rig.counted() == 1


def test_so_many_are_waited_for_and_looked_for_at_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(uncommitted, "MAX_WAITING", 5)
    monkeypatch.setattr(uncommitted, "MAX_LOOKED_FOR", 3)

    rig.waiting.add(result(str(number)) for number in range(7))
    rig.waiting.count_committed()
    rig.waiting.count_committed()

    assert "2 jobs of open transactions are not counted" in caplog.text
    assert rig.table.looks == [["2", "3", "4"], ["5", "6"]]


@pytest.mark.parametrize("fork", [os.fork, fork_in_c])
def test_a_child_does_not_count_what_is_its_parents(
    rig: Rig, fork: Callable[[], int]
) -> None:
    rig.waiting.add([result("a")])

    def look() -> None:
        assert not rig.waiting.is_waiting

    assert in_child(look, fork) == 0
    assert rig.waiting.is_waiting
