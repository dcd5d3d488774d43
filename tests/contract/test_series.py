"""Names in ``/metrics``: given once, kept for good, so that no counter goes down."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.handlers.metrics import OTHER, job_counters
from flask_forge_jobs.model.instants import DAY_US
from flask_forge_jobs.model.metrics import DAY
from flask_forge_jobs.storage.base import Storage, open_storage
from tests.support.clocks import START_US
from tests.support.figures import PastProcess
from tests.support.processes import output_of, start_python
from tests.support.sql import Sql
from tests.support.threads import run_together
from tests.support.waiting import wait_until

Label = str | tuple[str, str]

MOST = 200
DAY_S = DAY_US // 1_000_000
LABELS = "SELECT COUNT(*) FROM forge_metric WHERE level < 0 AND kind <> ''"
FOLDING = """
print("ready", flush=True)
sys.stdin.readline()
start_us, day_us = map(int, sys.argv[8:10])
for days in range(28, 60):
    storage.metrics.fold(start_us + days * day_us)
    storage.metrics.prune(start_us + days * day_us)
storage.close()
"""


def shown(storage: Storage) -> dict[Label, int]:
    """Return the jobs of each pair and the runs of each queue in ``/metrics``."""
    counters = job_counters(storage)
    found: dict[Label, int] = {}
    for pair, tally in counters.jobs.items():
        found[pair] = tally.enqueued
    for queue_name, times in counters.times.items():
        found[queue_name] = times.run.count
    return found


def invent(past: PastProcess, count: int, queue_name: str = "mail") -> None:
    """Count jobs of new kinds that come before all others in the alphabet."""
    for number in range(count):
        past.recorder.enqueued(queue_name, f"!{number:03}")
    past.flusher.flush()


def grow_old(storage: Storage) -> None:
    """Let every day become a part of the all-time totals."""
    later_us = START_US + 60 * DAY_US
    storage.metrics.fold(later_us)
    storage.metrics.prune(later_us)


@pytest.mark.parametrize("days_later", [0, 2])
def test_sec_S32_invented_kinds_push_no_pair_out(
    storage: Storage, days_later: int
) -> None:
    storage.queues.ensure("mail")
    past = PastProcess(storage)
    past.runs("mail", "send", [10] * 7)
    past.clock.move(days_later * DAY_S)
    invent(past, 300)
    before = shown(storage)

    grow_old(storage)

    assert before["mail", "send"] == before["mail"] == 7
    assert before[OTHER, OTHER] == 300 - (MOST - 1)
    assert len(before) == MOST + 2
    assert shown(storage) == before


def test_names_do_not_depend_on_the_queues_that_are_registered(
    storage: Storage,
) -> None:
    past = PastProcess(storage)
    for name in ("mail", "bulk"):
        storage.queues.ensure(name)
        past.runs(name, "send", [10, 20])
    invent(past, 300, "bulk")
    before = shown(storage)

    storage.queues.delete("mail")
    storage.queues.delete("bulk")
    without = shown(storage)
    storage.queues.ensure("mail")
    again = shown(storage)

    assert before["mail", "send"] == before["mail"] == 2
    assert before[OTHER, OTHER] == 302 - MOST
    assert without == again == before


def test_a_name_that_came_too_late_never_gets_a_label(storage: Storage) -> None:
    past = PastProcess(storage)
    invent(past, MOST)
    storage.queues.ensure("late")
    past.runs("late", "send", [10])
    before = shown(storage)

    grow_old(storage)
    past.clock.move(60 * DAY_S)
    past.runs("late", "send", [10])

    # There are labels left for queues.
    assert (before[OTHER, OTHER], before["late"]) == (1, 1)
    assert shown(storage) == {**before, (OTHER, OTHER): 2, "late": 2}


def test_processes_that_fold_at_the_same_time_move_no_name(
    storage: Storage, database_settings: DatabaseSettings, sql: Sql
) -> None:
    storage.queues.ensure("mail")
    past = PastProcess(storage)
    past.runs("mail", "send", [10] * 7)
    for _ in range(3):
        past.clock.move(DAY_S)
        invent(past, 300)
    before = shown(storage)
    processes = [
        start_python(database_settings, FOLDING, str(START_US), str(DAY_US))
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()

    changed = []
    while any(process.poll() is None for process in processes):
        found = shown(storage)
        if found != before:
            changed.append(found)

    for process in processes:
        output_of(process)
    assert changed == []
    assert shown(storage) == before
    days = "SELECT COUNT(*) FROM forge_metric WHERE level = ?"
    assert (sql.value(days, DAY), sql.value(days, 0)) == (0, 303)


def test_processes_that_count_at_the_same_time_name_200_pairs(
    storage: Storage, database_settings: DatabaseSettings, sql: Sql
) -> None:
    def count(queue_name: str) -> None:
        with contextlib.closing(open_storage(database_settings)) as other:
            past = PastProcess(other)
            for number in range(10):
                for kind in range(10):
                    past.recorder.enqueued(queue_name, f"{number}-{kind}")
                past.flusher.flush()
                last = seen.get(queue_name, {})
                seen[queue_name] = found = shown(storage)
                assert all(found[label] >= last[label] for label in last)

    seen: dict[str, dict[Label, int]] = {}
    run_together([partial(count, name) for name in "abcd"])

    assert sql.value(LABELS) == MOST
    assert shown(storage)[OTHER, OTHER] == 4 * 100 - MOST


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_processes_that_name_pairs_at_the_same_moment_wait_for_each_other(
    storage: Storage, database_settings: DatabaseSettings, sql: Sql
) -> None:
    """For the last places: what a process names goes to the store in pieces."""

    def count(queue_name: str) -> None:
        with contextlib.closing(open_storage(database_settings)) as other:
            invent(PastProcess(other), 30, queue_name)

    invent(PastProcess(storage), MOST - 40, "chat")
    with contextlib.closing(sql.connect()) as holder, ThreadPoolExecutor() as pool:
        cursor = holder.cursor()
        cursor.execute("BEGIN; LOCK TABLE forge_metric IN SHARE ROW EXCLUSIVE MODE")
        counts = [pool.submit(count, name) for name in ("mail", "bulk")]
        wait_until(lambda: sql.lock_waiters == 2, "neither can store a name")
        cursor.execute("COMMIT")
        for each in counts:
            each.result()

    assert sql.value(LABELS) == MOST
    assert shown(storage)[OTHER, OTHER] == 2 * 30 - 40
