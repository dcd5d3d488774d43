from __future__ import annotations

import pytest

from flask_forge_jobs.model import gauges
from flask_forge_jobs.model.gauges import ALL_QUEUES, Gauges, measured
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.queues import QueueCounts, QueueOverview, QueueSettings
from flask_forge_jobs.model.workers import Slot, Worker

NOW = from_micros(0)


def _queue(
    name: str, pending: int = 0, running: int = 0, age_s: int = 0, slots: str = ""
) -> QueueOverview:
    """``slots`` has a letter for each: ``f`` is free, ``b`` busy."""
    return QueueOverview(
        settings=QueueSettings(name),
        counts=QueueCounts(pending=pending, scheduled=9, in_progress=running, failed=9),
        slots=[
            Slot(f"{name}-{n}", name, "w", NOW, NOW, "job" if each == "b" else None)
            for n, each in enumerate(slots)
        ],
        oldest_due_age_s=age_s,
    )


def _worker(name: str, *queues: str) -> Worker:
    return Worker(name, None, queues, NOW)


def test_a_sample_is_of_each_queue_and_of_all_together() -> None:
    # Its worker has claimed three more jobs.
    overview = [_queue("bulk", 3, 4, 40, "bf"), _queue("mail", 2, 0, 7, "fff")]

    found = measured(overview, [_worker("a", "bulk"), _worker("b", "bulk", "mail")])

    assert found == {
        "bulk": Gauges(1, 3, 40, 1, 1, 2),
        "mail": Gauges(1, 2, 7, 0, 3, 1),
        ALL_QUEUES: Gauges(1, 5, 40, 1, 4, 2),
    }


def test_a_worker_without_names_serves_every_queue() -> None:
    assert measured([_queue("mail")], [_worker("a")])["mail"].live_workers == 1


def test_idle_queues_are_left_out_first(monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(gauges, "MAX_QUEUES", 2)
    overview = [_queue("a"), _queue("b", pending=1), _queue("c"), _queue("d")]

    assert set(measured(overview, [])) == {ALL_QUEUES, "a", "b"}


def test_sums_keep_the_oldest_wait() -> None:
    sums = Gauges(1, 2, 30, 4, 5, 6)

    sums.merge(Gauges(1, 1, 20, 1, 1, 1))

    assert sums == Gauges(2, 3, 30, 5, 6, 7)
