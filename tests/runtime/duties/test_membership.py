"""Which other processes are there: by their beats, as seen from one of them."""

from __future__ import annotations

import pytest

from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.runtime.duties.membership import SILENT_S, Membership
from flask_forge_jobs.storage.base import Storage
from tests.support.sql import Sql

BEAT_S = SILENT_S / 2


class Rig:
    """One observer; time passes for it while it can write."""

    def __init__(self, storage: Storage) -> None:
        self.workers = storage.workers
        self.now = 1000.0
        self.membership = Membership(
            storage.workers,
            worker_id="own",
            queue_names=["default"],
            written_until=lambda: self.now,
        )

    def beat(self, *names: str) -> None:
        for name in names:
            self.workers.show(name, None, ["mail"])

    def look(self, after_s: float = 0.0) -> list[str]:
        self.now += after_s
        return sorted(self.membership.look())


def test_a_process_is_there_at_its_first_beat(storage: Storage) -> None:
    rig = Rig(storage)
    assert rig.look() == ["own"]

    rig.beat("a", "own")

    assert rig.membership.look() == {"a": ("mail",), "own": ("default",)}


def test_who_is_silent_is_gone_and_comes_back(storage: Storage) -> None:
    """redistributes_when_a_pod_goes_stale"""
    rig = Rig(storage)
    rig.beat("a", "b")
    rig.look()
    for _ in range(2):
        rig.beat("b")
        assert rig.look(BEAT_S - 0.5) == ["a", "b", "own"]

    rig.beat("b")
    assert rig.look(BEAT_S) == ["b", "own"]

    rig.beat("a", "b")
    assert rig.look(BEAT_S) == ["a", "b", "own"]


def test_who_was_silent_before_the_first_look_is_not_there(
    storage: Storage, sql: Sql
) -> None:
    """Such as the processes that were killed with this one's predecessor."""
    rig = Rig(storage)
    rig.beat("killed")
    sql.age(SILENT_S + 1)
    rig.beat("live")

    assert rig.look() == ["live", "own"]


def test_a_clock_that_jumps_takes_nobody_away(storage: Storage, sql: Sql) -> None:
    """E1"""
    rig = Rig(storage)
    rig.beat("a")
    rig.look()

    sql.age(3600)  # every beat is an hour old now, by the database's clock

    assert rig.look(BEAT_S) == ["a", "own"]


def test_silence_does_not_count_while_nobody_can_write(storage: Storage) -> None:
    rig = Rig(storage)
    rig.beat("a")
    rig.look()

    for _ in range(10):  # looks go on, but the own beat does not get through either
        assert rig.look() == ["a", "own"]


def test_an_observer_that_was_stopped_begins_anew(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(storage)
    rig.beat("a")
    rig.look()
    assert rig.look(60 * SILENT_S) == ["a", "own"]

    def fail(_: object) -> None:
        raise StorageUnavailableError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(type(storage.workers), "heartbeat_ages", fail)
        with pytest.raises(StorageUnavailableError):
            rig.look(BEAT_S)
    assert rig.look(BEAT_S) == ["a", "own"]


# -- ages ----------------------------------------------------------------------------
