from __future__ import annotations

from collections.abc import Callable

import pytest

from flask_forge_jobs.cli.loadgen import load
from flask_forge_jobs.cli.loadgen.load import Load, Measured
from flask_forge_jobs.storage.base import Storage
from tests.support.waiting import wait_until


def test_a_drain_runs_every_job(storage: Storage) -> None:
    measured = Load(storage, "loadgen", 2, 0.0, 30.0).drain(300)

    assert (measured.enqueued, measured.ran) == (300, 300)
    assert measured.enqueue_rate > 0
    assert measured.run_rate > 0
    assert measured.waits_s == []


def test_a_run_that_is_too_short_says_how_many_ran(storage: Storage) -> None:
    measured = Load(storage, "loadgen", 1, 0.5, 0.05).drain(3)

    assert measured.ran < measured.enqueued == 3


def test_an_interrupted_load_waits_for_no_job(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(has_begun: Callable[[], bool], _: float) -> None:
        wait_until(has_begun, "the job runs")
        raise KeyboardInterrupt

    monkeypatch.setattr(load, "_wait_until", interrupt)
    monkeypatch.setattr(load, "_STOP_WITHIN_S", 3600.0)

    with pytest.raises(KeyboardInterrupt):
        Load(storage, "loadgen", 1, 3600.0, 30.0).drain(1)


def test_each_job_of_a_rate_has_its_wait(storage: Storage) -> None:
    measured = Load(storage, "loadgen", 2, 0.0, 0.2).pickup(50)

    assert (measured.enqueued, measured.ran) == (10, 10)
    assert len(measured.waits_s) == 10
    assert measured.waits_s == sorted(measured.waits_s)


@pytest.mark.parametrize(
    ("waits", "expected"),
    [
        ([], {}),
        ([0.5], {"p50": 0.5, "p95": 0.5, "p99": 0.5, "max": 0.5}),
        (
            [n / 100 for n in range(1, 101)],
            {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0},
        ),
    ],
)
def test_percentiles_are_of_the_nearest_rank(
    waits: list[float], expected: dict[str, float]
) -> None:
    assert Measured(1, 1.0, 1, 1.0, waits).wait_percentiles() == expected


def test_nothing_has_no_rate() -> None:
    nothing = Measured(0, 0.0, 0, 0.0, [])

    assert (nothing.enqueue_rate, nothing.run_rate) == (0.0, 0.0)
