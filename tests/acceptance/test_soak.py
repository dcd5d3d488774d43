"""The soak in its short form: too short to tell drift, long enough to lose a job."""

from __future__ import annotations

import contextlib
import math
from array import array
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flask_forge_jobs import NewJob, open_storage
from flask_forge_jobs.config.database import DatabaseSettings
from tests.acceptance.driving import SHORT_SEED
from tests.acceptance.ledger import Kill
from tests.acceptance.soak.driver import Plan, Soak
from tests.acceptance.soak.load import Acks, Asked
from tests.acceptance.soak.pace import Pace, Pulse, adjusted
from tests.acceptance.soak.probes import Drift, Sample
from tests.acceptance.soak.watch import Row, Watch
from tests.acceptance.soak.windows import Window, complaints_of, text_of, windows_of
from tests.support.databases import fresh_url, sqlite_url
from tests.support.sql import Sql

MINUTES = 0.5
# A worker starts threads, which open connections, when it first has jobs for them.
ABOUT_TIME = (
    "more threads than at first",
    "more files than at first",
    "grows by",
    "slower than the first",
    "a job costs",
    "was timed in window",
)


@pytest.mark.long
def test_nothing_is_lost_under_load_and_kills(backend: str, tmp_path: Path) -> None:
    plan = Plan(
        minutes=MINUTES, warm_up=0.1, window=0.1, kill_every_s=10, seed=SHORT_SEED
    )
    with fresh_url(backend) as url:
        text, _ = Soak(plan, url, tmp_path).run()

    broken = [line for line in text.splitlines() if line.startswith("BROKEN")]
    assert [
        line for line in broken if not any(each in line for each in ABOUT_TIME)
    ] == []
    assert "2 kills" in text


def test_a_job_counts_as_unknown_until_its_call_returns(tmp_path: Path) -> None:
    settings = DatabaseSettings.from_url(sqlite_url(tmp_path / "jobs.sqlite"))
    with contextlib.closing(open_storage(settings)) as storage:
        ids = [storage.jobs.enqueue(NewJob("k")).id for _ in range(3)]
        acks = Acks()
        watch = Watch(storage, Sql(settings), acks, [])
        seen = []
        for job_id in ids[:2]:
            acks.add(job_id, Asked(0))
            watch.look(settled_s=-1.0)
            seen.append(watch.complaints["was never acknowledged"])

    assert seen == [2, 1]


@pytest.mark.parametrize(
    ("lost_by", "is_told"),
    [(["dead"], False), (["alive"], True), ([], True), (["dead", "dead"], True)],
)
def test_a_rescue_needs_the_death_of_the_worker(
    lost_by: list[str], *, is_told: bool
) -> None:
    """By what the database says of the attempt, however late the claim was stored."""
    stub: Any = SimpleNamespace(run=lambda *_: [(each,) for each in lost_by])
    storage: Any = None
    watch = Watch(storage, stub, Acks(), [Kill(7, "dead", 0)])

    watch._check(Row("job", "done", attempts=2, crashes=1, total_us=9), Asked(0))

    assert bool(watch.complaints) is is_told


def samples(*, mib: float = 0, files: float = 0, threads: float = 0) -> list[Sample]:
    """Return an hour of a process that gains so much in it."""
    return [
        Sample(
            at_s=minute * 60,
            rss_mib=50 + mib * minute / 60,
            files=10 + int(files * minute / 60),
            threads=8 + int(threads * minute / 60),
        )
        for minute in range(61)
    ]


@pytest.mark.parametrize(
    ("gained", "what"),
    [
        ({"mib": 1.1}, "grows by 1.10 MiB an hour"),
        ({"files": 6}, "more files"),
        ({"threads": 6}, "more threads"),
    ],
)
def test_what_grows_is_told(gained: dict[str, float], what: str) -> None:
    (complaint,) = Drift("w0", samples(**gained)).complaints(most_mib=1.0)

    assert what in complaint


def test_what_is_flat_is_let_pass() -> None:
    drift = Drift("w0", samples(mib=0.9, files=2, threads=-3))

    assert drift.complaints(most_mib=1.0) == []
    assert "+0.90 MiB/h" in drift.text()


NONE_TIMED = Window(math.nan, math.nan)


def timed(*most_ms: float) -> list[Window]:
    return [Window(1, each) for each in most_ms]


def paced(*rates: float, loop_ms: float = 1) -> list[Window]:
    return [Window(1, 9, Pulse(0, rate, 0.7, loop_ms)) for rate in rates]


@pytest.mark.parametrize(
    ("windows", "what"),
    [
        (timed(9, 10, 12.1), "slower than the first"),
        (timed(9, 10, 10, 99, 10, 13, 5, 13), "slower than the first"),
        ([*timed(9, 10), NONE_TIMED], "no job was timed in window 3"),
        ([*timed(9), NONE_TIMED, *timed(99)], "no job was timed in window 2"),
        ([NONE_TIMED], "no job was timed in window 1"),
        ([], "no job was timed"),
        (paced(500, 500, 400), "a job costs over 20 % more"),
    ],
)
def test_what_is_slow_or_was_not_timed_is_told(
    windows: list[Window], what: str
) -> None:
    (complaint,) = complaints_of(windows)

    assert what in complaint


@pytest.mark.parametrize(
    "windows",
    [
        timed(99, 10, 12),
        timed(9, 10, 10, 10, 10, 10, 10, 99, 10),
        paced(900, 500, 420),
        # The machine became slower, not the jobs.
        [*paced(500, 500), *paced(400, loop_ms=1.25)],
    ],
)
def test_what_is_as_fast_as_before_is_let_pass(windows: list[Window]) -> None:
    assert complaints_of(windows) == []


def test_windows_that_warm_up_are_not_compared() -> None:
    assert complaints_of(timed(1, 2, 9, 9, 10), warm_up=2) == []
    assert complaints_of(timed(1, 2, 9, 9, 11), warm_up=2) != []


def test_the_first_look_of_a_pace_tells_nothing() -> None:
    pace = Pace(500, 0.7)

    pace.turn(0)

    assert (pace.rate, pace.pulses) == (500, [])


def test_each_window_has_its_own_looks() -> None:
    looks = [(at, array("q", [1000 * ms])) for at, ms in [(5, 1), (64, 2), (66, 3)]]
    pulses = [Pulse(30, 400, 0.5, 1), Pulse(60, 500, 1, 2), Pulse(90, 300, 0.7, 3)]

    first, second, third = windows_of(looks, pulses, window_s=60, count=3)

    assert first == Window(1, 2, Pulse(60, 450, 0.75, 1.5))
    assert second == Window(3, 3, Pulse(90, 300, 0.7, 3))
    assert (math.isnan(third.most_ms), third.pulse) == (True, None)
    assert "450 75% 1.50; 300 70% 3.00" in text_of([first, second, third])
    assert "of the last: 2.0 3.0" in text_of([first, second], warm_up=0)


@pytest.mark.parametrize(
    ("busy", "load", "rate"),
    [(0.7, 0.7, 500), (0.6, 0.7, 525), (0.8, 0.7, 475), (0.1, 0.7, 550), (0.1, 0, 500)],
)
def test_the_rate_follows_the_load(busy: float, load: float, rate: float) -> None:
    assert adjusted(500, busy, load) == pytest.approx(rate)
