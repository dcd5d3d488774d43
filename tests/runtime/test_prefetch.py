from __future__ import annotations

import pytest

from flask_forge_jobs.runtime.prefetch import (
    HORIZON_S,
    MAX_BY_MEAN,
    MAX_BYTES_AHEAD,
    Prefetch,
)


def learned(*run_times_s: float) -> Prefetch:
    prefetch = Prefetch()
    for run_s in run_times_s:
        prefetch.learn(run_s)
    return prefetch


def start(prefetch: Prefetch, payload_bytes: int) -> None:
    """Take a job that starts at once."""
    prefetch.take(payload_bytes)
    prefetch.waiting_bytes -= payload_bytes


def test_prefetch_takes_nothing_before_it_knows_a_run_time() -> None:
    assert Prefetch().jobs(8) == 0


@pytest.mark.parametrize("run_s", [HORIZON_S, 1.0, 600.0])
def test_prefetch_takes_nothing_for_slow_tasks(run_s: float) -> None:
    assert learned(run_s).jobs(8) == 0


def test_prefetch_takes_what_starts_within_the_horizon() -> None:
    assert learned(0.010).jobs(1) == 5
    assert learned(0.010).jobs(4) == 20


@pytest.mark.parametrize("run_s", [0.0, 1e-9, 1e-5])
def test_prefetch_has_an_upper_limit(run_s: float) -> None:
    assert learned(run_s).jobs(64) == MAX_BY_MEAN


def test_prefetch_follows_tasks_that_become_slower() -> None:
    prefetch = learned(0.001)
    before = prefetch.jobs(1)

    prefetch.learn(0.5)

    assert before == 50
    assert prefetch.jobs(1) == 0


def test_prefetch_follows_tasks_that_become_faster() -> None:
    prefetch = learned(0.5, *[0.001] * 250)

    assert prefetch.jobs(1) > 10


@pytest.mark.parametrize(
    ("payload_bytes", "max_jobs"),
    [
        (100, MAX_BY_MEAN),
        (MAX_BYTES_AHEAD // 40, 40),
        (MAX_BYTES_AHEAD // 2, 2),
        (2 * MAX_BYTES_AHEAD, 0),
    ],
)
def test_prefetch_takes_no_more_payload_than_fits(
    payload_bytes: int, max_jobs: int
) -> None:
    prefetch = learned(1e-5)
    for _ in range(100):
        start(prefetch, payload_bytes)

    assert prefetch.jobs(8) == max_jobs


def test_prefetch_follows_payloads_that_become_smaller() -> None:
    prefetch = learned(1e-5)
    start(prefetch, MAX_BYTES_AHEAD)
    before = prefetch.jobs(8)
    for _ in range(300):
        start(prefetch, 100)

    assert (before, prefetch.jobs(8)) == (1, MAX_BY_MEAN)


def test_a_small_payload_hides_no_large_ones() -> None:
    prefetch = learned(1e-5)
    for _ in range(8):
        start(prefetch, MAX_BYTES_AHEAD // 16)
    start(prefetch, 2)

    assert prefetch.jobs(8) == 16


@pytest.mark.parametrize(
    ("waiting", "waiting_bytes", "more"),
    [
        (0, 0, 50),
        (20, 2000, 30),
        (25, 2500, 25),
        (26, 2600, 0),
        (60, 6000, 0),
        (5, MAX_BYTES_AHEAD - 1000, 10),
        (5, MAX_BYTES_AHEAD + 1000, 0),
    ],
    ids=[
        "none waits",
        "some wait",
        "many wait",
        "enough wait",
        "more wait",
        "large wait",
        "too large wait",
    ],
)
def test_jobs_that_wait_already_are_not_prefetched_again(
    waiting: int, waiting_bytes: int, more: int
) -> None:
    prefetch = learned(0.001)
    start(prefetch, 100)

    prefetch.waiting_bytes = waiting_bytes

    assert prefetch.jobs(1, waiting) == more


def ask(prefetch: Prefetch, *, come: int | None = None) -> int:
    """Claim what is asked for, or less; return how many were asked for."""
    count = prefetch.jobs(8)
    prefetch.asked, prefetch.came, prefetch.has_run_out = count, 0, True
    for _ in range(count if come is None else come):
        start(prefetch, 2)
    return count


def test_slots_that_run_out_of_jobs_get_twice_as_many() -> None:
    """The mean of quick runs includes waits for the interpreter, so it is too long."""
    prefetch = learned(0.004)

    assert [ask(prefetch) for _ in range(6)] == [100, 128, 200, 400, 512, 512]


def test_half_of_many_is_claimed_while_the_others_run() -> None:
    """Whether a few more or fewer than half wait when it is time for the claim."""
    prefetch = learned(0.004)
    for _ in range(5):
        ask(prefetch)

    assert [prefetch.jobs(8, waiting) for waiting in (0, 505, 520, 768, 769)] == [
        *(512, 512, 504, 256, 0)
    ]


def test_a_queue_that_has_no_more_jobs_widens_nothing() -> None:
    prefetch = learned(0.004)

    assert [ask(prefetch, come=99) for _ in range(3)] == [100, 100, 100]


def test_jobs_that_wait_for_long_halve_the_window() -> None:
    prefetch = learned(0.004)
    for _ in range(4):
        ask(prefetch)
    prefetch.has_run_out = False

    counts = [prefetch.jobs(8, 10, waited_s) for waited_s in (0.04, 0.06, 0.06, 0.06)]

    assert counts == [400, 200, 128, 90]


def test_tasks_that_become_slow_close_the_window() -> None:
    prefetch = learned(0.004)
    for _ in range(4):
        ask(prefetch)

    prefetch.learn(1.0)
    assert prefetch.jobs(8) == 0
    for _ in range(300):
        prefetch.learn(0.004)
    prefetch.asked = 0

    assert 0 < prefetch.jobs(8) <= MAX_BY_MEAN


def test_reset_forgets_the_mean() -> None:
    prefetch = learned(0.001)

    prefetch.reset()

    assert prefetch.jobs(8) == 0


def test_quick_jobs_between_slow_ones_are_not_claimed_ahead() -> None:
    """They would wait in a full worker while others have room for them."""
    prefetch = Prefetch()
    seen = []

    for number in range(200):
        prefetch.learn(8.0 if number % 20 == 0 else 0.001)
        seen.append(prefetch.jobs(24))

    assert set(seen) == {0}


def test_quick_jobs_are_claimed_ahead_again_when_slow_ones_are_over() -> None:
    prefetch = Prefetch()
    prefetch.learn(0.001)
    prefetch.learn(8.0)

    for _ in range(250):
        prefetch.learn(0.001)

    assert prefetch.jobs(8) > 8
