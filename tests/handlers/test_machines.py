from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from flask_forge_jobs.handlers.machines import machines
from flask_forge_jobs.model.metrics import ResourceUse
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.database import Row, Transaction
from tests.handlers.test_samples import START, put


def test_each_machine_and_the_database_that_all_share(storage: Storage) -> None:
    storage.workers.beat("A", "mail-1", ["mail"], [])
    put(storage, "A", 0, ResourceUse(cpu_pct=10.0))
    put(storage, "A", 2, ResourceUse(cpu_pct=30.0))
    put(storage, "B", 2, ResourceUse(cpu_pct=90.0))

    found = machines(
        storage, start=START, end=START + timedelta(minutes=3), bucket_secs=60
    )

    cpu = {
        worker_id: [bucket.cpu_pct for bucket in buckets]
        for worker_id, buckets in found.resources.items()
    }
    assert cpu == {"A": [10.0, None, 30.0], "B": [None, None, 90.0]}
    assert found.names == {"A": "mail-1"}
    assert [bucket.writes_per_min for bucket in found.database] == [3, None, 6]
    assert [bucket.db_size_bytes for bucket in found.database] == [4096, None, 4096]


def test_an_empty_window_has_nothing(storage: Storage) -> None:
    found = machines(storage, start=START, end=START, bucket_secs=60)

    assert (found.resources, found.database, found.names) == ({}, [], {})


def test_wide_buckets_have_the_samples_of_wide_rows(storage: Storage) -> None:
    put(storage, "A", 0, ResourceUse(cpu_pct=10.0))
    put(storage, "A", 30, ResourceUse(cpu_pct=20.0))
    start = START - timedelta(seconds=START.timestamp() % 1800)

    found = machines(
        storage, start=start, end=start + timedelta(minutes=90), bucket_secs=1800
    )

    assert [bucket.cpu_pct for bucket in found.resources["A"]] == [10.0, 20.0, None]


def test_machines_without_names_cost_one_statement(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.workers.beat("A", "mail-1", ["mail"], [])
    put(storage, "A", 0, ResourceUse(cpu_pct=10.0))
    transaction: Any = storage.database.read(type)
    real, asked = transaction.all, list[str]()

    def noted(self: Transaction, name: str, /, **parameters: Any) -> Sequence[Row]:
        asked.append(name)
        rows: Sequence[Row] = real(self, name, **parameters)
        return rows

    monkeypatch.setattr(transaction, "all", noted)
    end = START + timedelta(minutes=3)

    use = machines(storage, start=START, end=end, bucket_secs=60, has_names=False)

    assert asked == ["samples_within"]
    assert (use.names, [*use.resources]) == ({}, ["A"])
