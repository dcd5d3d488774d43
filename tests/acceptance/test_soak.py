"""The soak in its short form: too short to tell drift, long enough to lose a job."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.acceptance.databases import fresh_url
from tests.acceptance.driving import SHORT_SEED
from tests.acceptance.soak.driver import Plan, Soak, slowness
from tests.acceptance.soak.probes import Drift, Sample

MINUTES = 0.5
# A worker starts threads, which open connections, when it first has jobs for them.
ABOUT_TIME = (
    "more threads than at first",
    "more files than at first",
    "grows by",
    "is slower than",
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


NONE_TIMED = (math.nan, math.nan)


@pytest.mark.parametrize(
    ("windows", "what"),
    [
        ([(1, 9), (1, 10), (1, 12.1)], "slower than the second"),
        ([(1, 9), (1, 10), NONE_TIMED], "no job was timed in window 3"),
        ([(1, 9), NONE_TIMED, (1, 99)], "no job was timed in window 2"),
        ([NONE_TIMED], "no job was timed in window 1"),
        ([], "no job was timed"),
    ],
)
def test_what_is_slow_or_was_not_timed_is_told(
    windows: list[tuple[float, float]], what: str
) -> None:
    (complaint,) = slowness(windows)

    assert what in complaint


def test_what_is_as_fast_as_before_is_let_pass() -> None:
    assert slowness([(1, 99), (1, 10), (1, 12)]) == []
