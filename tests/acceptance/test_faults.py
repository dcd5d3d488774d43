"""The frame of the fault table, and short forms of its cheap rows."""

from __future__ import annotations

import contextlib
import random
import re
import sqlite3
import tempfile
from pathlib import Path

import pytest

from tests.acceptance.driving import SHORT_SEED
from tests.acceptance.faults import log_texts
from tests.acceptance.faults.edges import Edge, illegal
from tests.acceptance.faults.fault import BOTH, POSTGRES, SQLITE, Bench, Fault, Scale
from tests.acceptance.faults.immediate import Ear
from tests.acceptance.faults.matrix import FAULTS, chosen
from tests.acceptance.faults.table import Outcome, run_all, text
from tests.support.backends import long
from tests.support.commands import ROOT

# What the table claims to show, and on which backends the matrix wants it.
NAMES = {
    "A8": BOTH,
    **dict.fromkeys((f"B{number}" for number in range(1, 14)), BOTH),
    **dict.fromkeys(("C1", "C2", "C3", "C4", "C5", "C6", "C9", "C10"), POSTGRES),
    **dict.fromkeys(("C11", "C14", "C15", "C16", "C17", "C18", "C20"), POSTGRES),
    **dict.fromkeys(("D1", "D2", "D3", "D5", "D9"), SQLITE),
    **dict.fromkeys(("E1", "E2", "E3", "E4", "E5", "E9", "E11"), BOTH),
    **dict.fromkeys(("F1", "F4", "F5"), BOTH),
}
# Those that take a few seconds; others have tests of their own, or need the command.
CHEAP = (
    "B3", "B8", "B9", "B10", "B11", "B12", "C5", "C16", "C20", "D3", "D9", "F1", "F4",
    "F5",
)  # fmt: skip
# Of the dearest, the default tier runs one backend or none, and the full tier both.
LEFT_OUT = {
    *((name, "sqlite") for name in ("B10", "D9", "F1", "F4", "F5")),
    *((name, "postgres") for name in ("B12", "F4")),
}


@pytest.fixture
def _what_is_left_goes_with_the_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


left_to_the_test = pytest.mark.usefixtures("_what_is_left_goes_with_the_test")


def _holds(bench: Bench) -> str:
    assert bench.url.endswith(".sqlite")
    (bench.folder / "log").touch()
    return f"drew {bench.random.randrange(1000)}, {bench.pick(1, 2, 3)} times"


def _is_violated(bench: Bench) -> str:
    raise AssertionError(f"not so\non {bench.backend}")


def _row(name: str, run: object) -> Fault:
    assert callable(run)
    return Fault(name, "a fault", SQLITE, "often", run, full="very often")


def _outcomes(scale: Scale, *names: str) -> list[Outcome]:
    rows = [_row("X1", _is_violated), _row("X2", _holds)]
    wanted = [row for row in rows if row.name in names]
    return list(run_all(wanted, ("sqlite", "postgres"), scale, 7))


@left_to_the_test
def test_a_violation_is_told_and_the_next_fault_is_run() -> None:
    violated, held = _outcomes(Scale.CHANGE, "X1", "X2")

    assert (violated.verdict, held.verdict) == ("VIOLATED", "held")
    assert violated.seen == "AssertionError: not so"
    table = text([violated, held])
    assert "1 held, 1 violated" in table
    assert "on sqlite\nTraceback" in table
    assert "left in" in table


@left_to_the_test
def test_the_table_is_the_same_for_a_fault_that_is_run_alone() -> None:
    _, within = _outcomes(Scale.FULL, "X1", "X2")
    (alone,) = _outcomes(Scale.FULL, "X2")

    assert within.seen == alone.seen
    assert alone.seen.endswith(", 3 times")
    assert alone.figure == "very often"


def test_what_is_looked_for_in_logs_is_said() -> None:
    modules = (ROOT / "flask_forge_jobs").rglob("*.py")
    # A text may be split over two lines of a module.
    said = re.sub(r'"\s+"', "", "".join(each.read_text() for each in modules))
    texts = [value for name, value in vars(log_texts).items() if name.isupper()]

    assert texts
    assert [text for text in texts if text not in said] == []


def test_names_choose_rows() -> None:
    rows = [_row("X1", _holds), _row("X2", _holds)]

    assert chosen(rows, "") == rows
    assert chosen(rows, " x2,") == rows[1:]
    with pytest.raises(ValueError, match="no fault X3"):
        chosen(rows, "X1,X3")


def test_every_row_is_there_once_on_the_backends_of_the_matrix() -> None:
    found = {fault.name: fault.backends for fault in FAULTS}

    assert found == NAMES
    assert len(FAULTS) == len(NAMES)


# A fork with several threads is what some of them are about.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "backend"),
    [
        long(name, backend) if (name, backend) in LEFT_OUT else (name, backend)
        for name in CHEAP
        for backend in NAMES[name]
    ],
    indirect=["backend"],
)
def test_what_must_hold_does_in_the_short_form(
    name: str, backend: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    (fault,) = chosen(FAULTS, name)
    folder = tmp_path / "fault"
    folder.mkdir()
    url = request.getfixturevalue("database_url")

    seen = fault.run(
        Bench(backend, url, random.Random(SHORT_SEED), Scale.SHORT, folder)
    )

    assert seen


# -- that the oracles would notice ---------------------------------------------------


@pytest.mark.parametrize(
    ("was", "became", "before", "after", "is_legal"),
    [
        ("pending", "in_progress", 0, 1, True),
        ("pending", "in_progress", 0, 0, False),
        ("in_progress", "done", 1, 1, True),
        ("done", "in_progress", 1, 2, False),
        ("dead", "done", 1, 1, False),
        ("in_progress", "pending", 1, 0, True),
        ("in_progress", "deleted", 1, 1, False),
        ("dead", "pending", 4, 0, True),
        ("dead", "pending", 4, 3, False),
        ("done", "pending", 4, 0, False),
    ],
)
def test_illegal_edges_are_found(
    was: str, became: str, before: int, after: int, *, is_legal: bool
) -> None:
    edge = Edge("job", was, became, before, after)

    assert illegal([edge]) == ([] if is_legal else [edge])


@pytest.mark.parametrize(
    ("begin", "is_deferred"),
    [("BEGIN", True), ("BEGIN DEFERRED", True), ("BEGIN IMMEDIATE", False)],
)
def test_a_lock_that_is_taken_late_is_heard(begin: str, *, is_deferred: bool) -> None:
    ear = Ear()
    file = ear.connect(sqlite3.connect, ":memory:", isolation_level=None)
    with contextlib.closing(file):
        file.execute("CREATE TABLE t (n)")
        file.execute("INSERT INTO t VALUES (1)")  # takes its lock at once
        file.execute(begin)
        file.execute("SELECT * FROM t").fetchall()
        file.execute("UPDATE t SET n = 2")
        file.execute("COMMIT")

    assert bool(ear.faults) == is_deferred
