"""The short form of the measurement: what is counted does not grow with the jobs.

Each index that a call relies on is also dropped once: a test that does not notice
would prove nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.acceptance.million import FEW_ROWS, Figure, Subject, table
from tests.acceptance.work import Call, blocks_of, calls
from tests.support.databases import sqlite_url
from tests.support.postgres import fresh_database
from tests.support.work import VirtualMachine

ROWS = 20_000
# Twenty times the jobs. A listing reads up to 50 rows of each combination, each perhaps
# from a block of its own, and a thousand jobs do not have as many, hence more than one.
LARGEST_GROWTH = 6.0
# The exact total of a range of time is counted, so it grows with the range.
# So does that of a schedule.
COUNTED = (
    "list: wide range",
    "list: status + wide range",
    "find: wide range",
    "find: status + wide range",
    "find: schedule",
)

Counter = Callable[[Subject, Call], int]
Growth = dict[str, float]


def steps_of(machine: VirtualMachine) -> Counter:
    return lambda _subject, call: machine.steps(call)


@pytest.fixture
def growth(
    backend: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str | None], Growth]:
    """Measure by how much the work of each call grows, with an index dropped or not."""
    count: Counter = blocks_of
    if backend == "sqlite":
        count = steps_of(VirtualMachine(monkeypatch))

    def work(rows: int, dropped: str | None) -> dict[str, int]:
        with ExitStack() as stack:
            if backend == "sqlite":
                url = sqlite_url(tmp_path / f"{rows}.sqlite")
            else:
                server: str = request.getfixturevalue("postgres_server")
                url = stack.enter_context(fresh_database(server))
            subject = stack.enter_context(closing(Subject(url, rows, is_crossed=False)))
            subject.sql.assert_counts_equal_rows()
            if dropped is not None:
                subject.sql.run(f"DROP INDEX {dropped}")
            return {name: count(subject, call) for name, call in calls(subject).items()}

    def measured(dropped: str | None) -> Growth:
        few, many = work(FEW_ROWS, dropped), work(ROWS, dropped)
        assert all(few.values()), f"nothing was counted: {few}"
        return {name: many[name] / few[name] for name in many if name not in COUNTED}

    return measured


def test_reads_and_claims_do_not_scan(growth: Callable[[str | None], Growth]) -> None:
    found = growth(None)

    too_much = {name: by for name, by in found.items() if by > LARGEST_GROWTH}
    assert not too_much, found


@pytest.mark.long
@pytest.mark.parametrize(
    "index", ["forge_job_list", "forge_job_claim", "forge_job_deferred"]
)
def test_missing_index_is_noticed(
    growth: Callable[[str | None], Growth], index: str
) -> None:
    found = growth(index)

    assert max(found.values()) > LARGEST_GROWTH, found


def test_table_tells_what_is_missed() -> None:
    figures = [
        Figure("overview", few_ms=1.0, many_ms=2.5, limit_ms=2.0),
        Figure("claim", few_ms=1.0, many_ms=1.5, limit_ms=5.0),
    ]

    overview, claim = table("sqlite", 1_000_000, figures).splitlines()[-2:]

    assert overview.split() == ["overview", "1.00", "2.50", "2.5", "2.0", "MISSED"]
    assert claim.split()[-1] == "met"
