from __future__ import annotations

from typing import cast

import pytest

from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.model.queues import (
    DEFAULT_MAX_WORKERS,
    QueueChanges,
    QueueSettings,
)
from flask_forge_jobs.runtime.duties.membership import Membership
from flask_forge_jobs.runtime.duties.supervisor import Supervisor
from flask_forge_jobs.runtime.loop.handover import Handover
from flask_forge_jobs.storage.base import Storage
from tests.support.clocks import MovingClock
from tests.support.runtimes import Bench, claimed


class Rig(Bench):
    def __init__(self, storage: Storage, *names: str) -> None:
        clock = MovingClock()
        super().__init__(*names, clock=clock)
        self.config = storage.queues
        self.workers = storage.workers
        self.limits: list[tuple[str, int]] = []
        self.notified: set[str] = set()
        for name in names:
            storage.queues.ensure(name)
        membership = Membership(
            storage.workers,
            worker_id="own",
            queue_names=names,
            written_until=clock.monotonic,
        )
        self.settings = {name: QueueSettings(name) for name in names}
        self.supervisor = Supervisor(
            storage.queues,
            membership,
            cast("Handover", self),
            self.settings,
            notify=self.notified.add,
            clock=clock,
        )

    def set_limit(self, queue_name: str, limit: int) -> None:
        """Stand for the handover, and note what it is told."""
        self.limits.append((queue_name, limit))
        self.handover.set_limit(queue_name, limit)

    def tick(self) -> list[tuple[str, int]]:
        """Tick and return the limits that changed."""
        self.limits.clear()
        self.supervisor.tick()
        return list(self.limits)

    def woken(self) -> set[str]:
        """Take the queues that are looked at anew."""
        names = set(self.notified)
        self.notified.clear()
        return names


def test_supervisor_follows_max_workers(storage: Storage) -> None:
    rig = Rig(storage, "default")
    first = rig.tick()

    rig.config.change("default", {"max_workers": 3})
    second = rig.tick()
    third = rig.tick()

    assert first == [("default", 64)]
    assert second == [("default", 3)]
    assert third == []


def test_supervisor_stops_a_paused_queue_and_gives_back_its_claims(
    storage: Storage,
) -> None:
    rig = Rig(storage, "default", "other")
    rig.tick()
    for job in (claimed("a"), claimed("b", queue="other")):
        rig.waits(job)

    rig.config.change("default", {"paused": True})
    changed = rig.tick()

    assert changed == [("default", 0)]
    assert [execution.job.id for execution, _ in rig.ended] == ["a"]


def test_supervisor_looks_for_work_when_a_queue_may_run_more(storage: Storage) -> None:
    rig = Rig(storage, "default")
    rig.config.change("default", {"paused": True})
    rig.tick()
    woken = [rig.woken()]

    rig.config.change("default", {"paused": False})
    rig.tick()
    woken.append(rig.woken())
    rig.config.change("default", {"max_workers": 2})
    rig.tick()
    woken.append(rig.woken())

    assert woken == [set(), {"default"}, set()]


def test_supervisor_shares_with_other_processes_of_the_queue(storage: Storage) -> None:
    rig = Rig(storage, "default")
    rig.config.change("default", {"max_workers": 9})
    rig.workers.beat("host-1", None, ["default"], [])
    rig.workers.beat("host-2", None, ["default", "other"], [])
    rig.workers.beat("host-3", None, ["other"], [])

    assert rig.tick() == [("default", 3)]


def test_supervisor_counts_a_process_without_queues_for_all(storage: Storage) -> None:
    """``legacy_empty_queue_pod_is_eligible_for_every_queue``."""
    rig = Rig(storage, "default")
    rig.config.change("default", {"max_workers": 8})
    rig.workers.beat("host-2", None, [], [])

    assert rig.tick() == [("default", 4)]


def test_supervisor_notices_at_once_who_joins_and_leaves(storage: Storage) -> None:
    rig = Rig(storage, "default")
    rig.config.change("default", {"max_workers": 8})
    rig.tick()

    rig.workers.beat("host-2", None, ["default"], [])
    joined = rig.tick()
    rig.woken()
    rig.workers.remove("host-2")
    left = rig.tick()

    assert joined == [("default", 4)]
    assert left == [("default", 8)]
    assert rig.woken() == {"default"}


def test_supervisor_gives_each_queue_its_own_turn(storage: Storage) -> None:
    """Ten queues of one worker are not all in one process."""
    names = [f"q{number}" for number in range(10)]
    rig = Rig(storage, *names)
    for name in names:
        rig.config.change(name, {"max_workers": 1})
    rig.workers.beat("host-2", None, names, [])

    shared = dict(rig.tick())

    assert sum(shared.values()) == 5


def test_supervisor_leaves_everything_when_it_cannot_read(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(storage, "default")
    rig.workers.beat("host-2", None, ["default"], [])
    rig.tick()

    def fail(_: object) -> None:
        raise StorageUnavailableError("gone")

    monkeypatch.setattr(type(storage.workers), "heartbeat_ages", fail)
    rig.config.change("default", {"max_workers": 2})
    with pytest.raises(StorageUnavailableError):
        rig.tick()

    assert rig.limits == []


@pytest.mark.parametrize("changes", [{"paused": True}, {"max_workers": 3}])
def test_supervisor_forgets_the_settings_of_a_queue_that_is_gone(
    storage: Storage, changes: QueueChanges
) -> None:
    """A producer that remembers the queue may still add jobs to it."""
    rig = Rig(storage, "default")
    rig.config.change("default", changes)
    rig.tick()
    rig.woken()

    rig.config.delete("default")

    assert rig.tick() == [("default", DEFAULT_MAX_WORKERS)]
    assert rig.settings["default"] == QueueSettings("default")
    assert rig.woken() == {"default"}
