"""The mutants fit the code, and their runner tells what became of one."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutants import guard
from tests.mutants.catalogue import MUTANTS, load
from tests.mutants.copies import Copy
from tests.mutants.mutant import PACKAGE, Mutant
from tests.mutants.runner import Result, Runner, Verdict, is_good_enough, judged

ROOT = Path(__file__).resolve().parents[1]
TOY_TEST = """
from flask_forge_jobs.toy import is_full

def test_a_box_is_full():
    assert is_full(3, 3)
"""


def test_every_mutant_has_its_one_place_in_the_code() -> None:
    stale = [
        f"{mutant.name}: {mutant.path}"
        for mutant in MUTANTS
        if mutant.places(ROOT) != 1 or mutant.old == mutant.new
    ]

    assert stale == []


def test_every_mutant_names_tests_that_exist() -> None:
    missing = []
    for test in {test for mutant in MUTANTS for test in mutant.tests}:
        file, _, name = test.partition("::")
        path = ROOT / "tests" / file
        text = path.read_text("utf-8") if path.is_file() else ""
        if not text or (name and f"def {name}(" not in text):
            missing.append(test)

    assert missing == []
    assert all(mutant.tests for mutant in MUTANTS)


def test_there_are_enough_mutants_each_with_a_name_of_its_own() -> None:
    names = Counter(mutant.name for mutant in MUTANTS)

    assert len(names) >= 100
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ('new = "b"', "'old'"),
        ('old = "a"\ntests = ["x.py"]\nnews = "b"', "unknown keys: ['news']"),
        ('["nobody counts"."b.py"]\nold = "a"', "is no mutant: too many values"),
    ],
)
def test_a_table_that_is_no_mutant_is_named(
    tmp_path: Path, edit: str, message: str
) -> None:
    path = tmp_path / "area.toml"
    path.write_text(f'["nobody counts"."a.py"]\n{edit}\n', "utf-8")

    with pytest.raises(ValueError, match=r"^area\.toml: 'nobody counts' ") as refused:
        list(load(path))

    assert message in str(refused.value)


def test_a_mutant_without_a_new_text_takes_the_old_one_away(tmp_path: Path) -> None:
    path = tmp_path / "area.toml"
    path.write_text('["no fence"."a.py"]\nold = "a"\ntests = ["x.py"]\n', "utf-8")

    assert list(load(path)) == [Mutant("no fence", "a.py", "a", "", ("x.py",))]


def test_a_mutant_without_tests_has_those_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "area.toml"
    path.write_text('["no fence"."jobs/a.py"]\nold = "a"\n', "utf-8")

    (mutant,) = load(path)

    assert mutant.tests == ("jobs/test_a.py",)


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A checkout of a package with one function and one test."""
    root = tmp_path / "toy"
    package, mutants = root / PACKAGE, root / "tests" / "mutants"
    package.mkdir(parents=True)
    mutants.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "toy.py").write_text(
        "def is_full(held, most):\n    return held >= most\n"
    )
    (root / "tests" / "test_toy.py").write_text(TOY_TEST)
    (root / "tests" / "test_red.py").write_text(TOY_TEST.replace("3, 3", "2, 3"))
    (root / "tests" / "__init__.py").write_text("")
    (mutants / "__init__.py").write_text("")
    shutil.copy(guard.__file__, mutants)
    (root / "pytest.ini").write_text("[pytest]\naddopts = -p no:schemathesis\n")
    return root


def toy_mutant(old: str, new: str) -> Mutant:
    return Mutant(f"{old} is {new}", "toy.py", old, new, ("test_toy.py",))


@pytest.mark.long
def test_a_mutant_is_killed_or_survives(toy: Path, tmp_path: Path) -> None:
    copy = Copy(tmp_path / "copy", toy, os.environ)
    killed, survivor = toy_mutant(">=", ">"), toy_mutant(">=", "==")
    stale, broken = toy_mutant("<=", "<"), toy_mutant("return held", "return (held")
    red = replace(toy_mutant(">=", "<"), tests=("test_red.py",))

    found = Runner(toy, [copy]).run([killed, survivor, stale, broken, red])

    results = {each.mutant: each for each in found}
    assert {mutant: each.verdict for mutant, each in results.items()} == {
        killed: Verdict.KILLED,
        survivor: Verdict.SURVIVED,
        stale: Verdict.STALE,
        broken: Verdict.BROKEN,
        red: Verdict.RED,
    }
    assert results[killed].detail == "tests/test_toy.py::test_a_box_is_full"
    assert "0 times" in results[stale].detail
    assert "without it: tests/test_red.py::test_a_box_is_full" in results[red].detail
    # The checkout itself was never touched, and the copy is as it was.
    for root in (toy, tmp_path / "copy"):
        assert "held >= most" in (root / PACKAGE / "toy.py").read_text()


def test_tests_that_hang_are_ended(toy: Path, tmp_path: Path) -> None:
    (toy / "tests" / "test_toy.py").write_text("import time; time.sleep(600)")
    copy = Copy(tmp_path / "copy", toy, os.environ)

    run = copy.test(["test_toy.py"], 0.01)

    assert judged(run)[0] is Verdict.TIMED_OUT


def test_a_copy_that_does_not_test_itself_is_refused(toy: Path, tmp_path: Path) -> None:
    shutil.rmtree(toy / PACKAGE)

    with pytest.raises(RuntimeError, match="uses"):
        Copy(tmp_path / "copy", toy, os.environ)


@pytest.mark.parametrize(
    ("verdicts", "is_enough"),
    [
        ([Verdict.KILLED] * 19 + [Verdict.SURVIVED], True),
        ([Verdict.KILLED] * 18 + [Verdict.TIMED_OUT, Verdict.SURVIVED], True),
        ([Verdict.KILLED] * 18 + [Verdict.SURVIVED] * 2, False),
        ([Verdict.KILLED] * 99 + [Verdict.STALE], False),
        ([Verdict.KILLED] * 99 + [Verdict.RED], False),
        ([Verdict.KILLED] * 99 + [Verdict.BROKEN], False),
    ],
)
def test_so_many_must_be_killed(verdicts: list[Verdict], *, is_enough: bool) -> None:
    results = [Result(MUTANTS[0], verdict) for verdict in verdicts]

    assert is_good_enough(results) is is_enough
