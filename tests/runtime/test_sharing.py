"""Workers of the queues, shared out over running processes."""

from __future__ import annotations

import contextlib

from flask_forge_jobs.runtime.worker import RuntimeHandle
from flask_forge_jobs.storage.base import Storage
from tests.support.backends import sqlite_first
from tests.support.runtimes import QuickTask, registry_of, running
from tests.support.waiting import wait_until

TOTALS = {"one": 1, "three": 3, "ten": 10}


def limits(handles: list[RuntimeHandle], queue: str) -> list[int]:
    """Return the shares that are in force, the largest first."""
    shares = (
        handle._parts.services._supervisor._limits.get(queue, -1) for handle in handles
    )
    return sorted(shares, reverse=True)


def wait_for_shares(
    handles: list[RuntimeHandle], expected: dict[str, list[int]]
) -> None:
    wait_until(
        lambda: {name: limits(handles, name) for name in expected} == expected,
        f"the shares are {expected}",
    )


@sqlite_first
def test_shares_follow_who_joins_and_leaves(storage: Storage) -> None:
    for name, total in TOTALS.items():
        storage.queues.ensure(name, total)
    registry = registry_of(QuickTask())

    with contextlib.ExitStack() as stack:
        handles = [
            stack.enter_context(running(storage, registry, queues=list(TOTALS)))
            for _ in range(3)
        ]
        wait_for_shares(
            handles, {"one": [1, 0, 0], "three": [1, 1, 1], "ten": [4, 3, 3]}
        )

        handles.pop().shutdown_graceful(0)
        wait_for_shares(handles, {"one": [1, 0], "three": [2, 1], "ten": [5, 5]})

        storage.queues.change("three", {"paused": True})
        storage.queues.change("one", {"max_workers": 4})
        wait_for_shares(handles, {"one": [2, 2], "three": [0, 0], "ten": [5, 5]})


def test_a_running_worker_tells_how_old_its_ticks_are(storage: Storage) -> None:
    with running(storage, registry_of(QuickTask())) as handle:
        handle._parts.services._heartbeat.tick()
        ages = storage.workers.services()

    assert [each.name for each in ages] == [
        "batch-checks", "bulk-runs", "cron", "gauges", "heartbeat", "leader",
        "metrics-upkeep", "reaper", "retention", "sampler", "supervisor", "upkeep",
    ]  # fmt: skip
    assert not any(each.is_late for each in ages)
