from __future__ import annotations

import pytest

from flask_forge_jobs.handlers.processes import list_processes, workers
from flask_forge_jobs.model.processes import SlotReport
from flask_forge_jobs.storage.base import Storage


def test_list_processes_takes_one_queue_or_all(storage: Storage) -> None:
    slots = [SlotReport("b-0-H-1", "b"), SlotReport("a-0-H-1", "a")]
    storage.processes.beat("H", None, ["a", "b"], slots)

    assert [each.queue_name for each in list_processes(storage).processes] == ["a", "b"]
    assert [each.queue_name for each in list_processes(storage, "b").processes] == ["b"]


@pytest.mark.parametrize("name", ["", "none", "a\x00b", "\ud800"])
def test_list_processes_of_no_queue_is_empty(storage: Storage, name: str) -> None:
    assert not list_processes(storage, name).processes


def test_workers_are_those_that_beat_within_a_minute(storage: Storage) -> None:
    storage.queues.ensure("a")
    storage.processes.beat("H", "label", ["a"], [])

    found = workers(storage)

    assert [each.pod.worker_name for each in found.workers] == ["label"]
    assert found.unassigned_queues == ["a"]
