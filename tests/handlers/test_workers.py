from __future__ import annotations

import pytest

from flask_forge_jobs.handlers.workers import list_slots
from flask_forge_jobs.model.workers import SlotReport
from flask_forge_jobs.storage.base import Storage


def test_list_slots_takes_one_queue_or_all(storage: Storage) -> None:
    slots = [SlotReport("b-0-H-1", "b"), SlotReport("a-0-H-1", "a")]
    storage.workers.beat("H", None, ["a", "b"], slots)

    assert [each.queue_name for each in list_slots(storage).slots] == ["a", "b"]
    assert [each.queue_name for each in list_slots(storage, "b").slots] == ["b"]


@pytest.mark.parametrize("name", ["", "none", "a\x00b", "\ud800"])
def test_list_slots_of_no_queue_is_empty(storage: Storage, name: str) -> None:
    assert not list_slots(storage, name).slots
