from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from flask_forge_jobs.model.queues import MAX_WORKERS_PER_PROCESS
from flask_forge_jobs.runtime.dispatcher import Dispatcher
from flask_forge_jobs.runtime.execution import Execution
from flask_forge_jobs.runtime.slots import SlotPool
from flask_forge_jobs.runtime.supervisor import (
    COUNT_PODS_PERIOD_S,
    Supervisor,
    fair_share,
)
from flask_forge_jobs.storage.base import Storage
from tests.support.clocks import MovingClock
from tests.support.runtimes import claimed

LEASE_S = 60.0


class Told:
    """Stands for the slots and the dispatcher; notes what they are told."""

    def __init__(self) -> None:
        self.limits: list[tuple[str, int]] = []
        self.woken: list[str] = []
        self.returned: list[str] = []
        self.buffered: list[Execution] = []

    def set_limit(self, queue_name: str, limit: int) -> None:
        self.limits.append((queue_name, limit))

    def take_back(self, *, queue_name: str) -> list[Execution]:
        taken = [each for each in self.buffered if each.job.queue_name == queue_name]
        self.buffered = [each for each in self.buffered if each not in taken]
        return taken

    def give_back(self, executions: Sequence[Execution]) -> None:
        self.returned.extend(each.job.id for each in executions)

    def wake(self, queue_name: str) -> None:
        self.woken.append(queue_name)


class Rig:
    def __init__(self, storage: Storage, *names: str) -> None:
        self.clock = MovingClock()
        self.told = Told()
        self.queues = storage.queues
        self.processes = storage.processes
        for name in names:
            storage.queues.ensure(name)
        self.supervisor = Supervisor(
            storage.queues,
            storage.processes,
            cast("SlotPool", self.told),
            cast("Dispatcher", self.told),
            queue_names=names,
            lease_s=LEASE_S,
            clock=self.clock,
        )

    def tick(self) -> list[tuple[str, int]]:
        """Tick and return the limits that changed."""
        self.told.limits.clear()
        self.supervisor.tick()
        return list(self.told.limits)


@pytest.mark.parametrize(
    ("max_workers", "pod_count", "share"),
    [
        (10, 3, 4),
        (10, 1, 10),
        (10, 0, 10),  # nobody is registered yet
        (1, 5, 1),
        (0, 3, 0),
        (1024, 1, MAX_WORKERS_PER_PROCESS),
        (1024, 32, 32),
    ],
)
def test_fair_share(max_workers: int, pod_count: int, share: int) -> None:
    assert fair_share(max_workers, pod_count) == share


def test_supervisor_follows_max_workers(storage: Storage) -> None:
    rig = Rig(storage, "default")
    first = rig.tick()

    rig.queues.set_max_workers("default", 3)
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
    rig.told.buffered = [
        Execution(claimed("a"), 0.0),
        Execution(claimed("b", queue="other"), 0.0),
    ]

    rig.queues.set_paused("default", paused=True)
    changed = rig.tick()

    assert changed == [("default", 0)]
    assert rig.told.returned == ["a"]


def test_supervisor_looks_for_work_when_a_queue_may_run_more(storage: Storage) -> None:
    rig = Rig(storage, "default")
    rig.queues.set_paused("default", paused=True)
    rig.tick()
    rig.told.woken.clear()

    rig.queues.set_paused("default", paused=False)
    rig.tick()
    rig.queues.set_max_workers("default", 2)
    rig.tick()

    assert rig.told.woken == ["default"]


def test_supervisor_shares_with_other_processes_of_the_queue(storage: Storage) -> None:
    rig = Rig(storage, "default")
    rig.queues.set_max_workers("default", 9)
    rig.processes.beat("host-1", None, ["default"], [])
    rig.processes.beat("host-2", None, ["default", "other"], [])
    rig.processes.beat("host-3", None, ["other"], [])

    assert rig.tick() == [("default", 5)]


def test_supervisor_counts_a_process_without_queues_for_all(storage: Storage) -> None:
    """``legacy_empty_queue_pod_is_eligible_for_every_queue``."""
    rig = Rig(storage, "default")
    rig.queues.set_max_workers("default", 8)
    rig.processes.beat("host-1", None, ["default"], [])
    rig.processes.beat("host-2", None, [], [])

    assert rig.tick() == [("default", 4)]


def test_supervisor_recounts_the_processes_now_and_then(storage: Storage) -> None:
    rig = Rig(storage, "default")
    rig.queues.set_max_workers("default", 8)
    rig.processes.beat("host-1", None, ["default"], [])
    rig.tick()

    rig.processes.beat("host-2", None, ["default"], [])
    soon = rig.tick()
    rig.clock.move(COUNT_PODS_PERIOD_S)
    later = rig.tick()

    assert soon == []
    assert later == [("default", 4)]


def test_supervisor_keeps_what_it_knows_of_a_queue_that_is_gone(
    storage: Storage,
) -> None:
    rig = Rig(storage, "default")
    rig.queues.set_max_workers("default", 3)
    rig.tick()

    rig.queues.delete("default")

    assert rig.tick() == []
    assert rig.supervisor.settings_of("default").max_workers == 3


def test_settings_of_an_unknown_queue_are_the_defaults(storage: Storage) -> None:
    settings = Rig(storage, "default").supervisor.settings_of("other")

    assert (settings.name, settings.max_workers) == ("other", 64)
