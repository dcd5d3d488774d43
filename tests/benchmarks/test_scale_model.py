"""The simulation keeps to what it is given."""

from __future__ import annotations

import pytest

from tests.benchmarks.scale_model import Costs, Load, simulate

MS = 0.001
COSTS = Costs(
    enqueue_server_call=0.2 * MS, enqueue_server_job=0.01 * MS,
    enqueue_client_call=0.1 * MS, enqueue_client_job=0.01 * MS,
    exchange_server_call=0.5 * MS, exchange_server_job=0.02 * MS,
    worker_call=0.3 * MS, worker_job=0.02 * MS,
    flush=1 * MS, log_call=200, log_job=400, log_run=1200,
)  # fmt: skip


def test_a_load_below_the_capacity_is_carried() -> None:
    out = simulate(COSTS, Load(rate=1000, batch=10, workers=1, seconds=2))

    assert out.enqueued == pytest.approx(1000, rel=0.02)
    assert out.done == pytest.approx(1000, rel=0.02)
    assert out.log_bytes == pytest.approx(1000 * (20 + 400 + 1200), rel=0.02)
    assert out.pickup_ms(99) < 10


def test_a_load_above_the_capacity_waits() -> None:
    load = Load(cores=4, producers=4, rate=60_000, batch=100, workers=1, seconds=1)

    out = simulate(COSTS, load)

    assert out.enqueued > 50_000
    assert out.done < 40_000
    assert out.waiting > 5_000


def test_threads_that_commit_at_once_share_a_flush() -> None:
    alone = simulate(COSTS, Load(seconds=1, is_one_process=True))
    eight = simulate(COSTS, Load(producers=8, seconds=1, is_one_process=True))

    assert alone.flushes == pytest.approx(alone.enqueued, rel=0.01)
    assert eight.enqueued > 3 * alone.enqueued
    assert eight.flushes < 1.5 * alone.flushes


def test_processors_of_one_host_are_shared() -> None:
    load = Load(producers=16, seconds=1, cores=1)
    apart = simulate(COSTS, load)
    together = simulate(COSTS, Load(**{**vars(load), "is_one_host": True}))

    assert together.enqueued < apart.enqueued
    assert together.server_cores + together.python_cores == pytest.approx(1, rel=0.01)
