"""mypy agrees with what ``test_task_signatures`` says of it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SIGNATURES = Path(__file__).with_name("test_task_signatures.py")
_IGNORE = re.compile(r"  # type: ignore\[([a-z-]+)\].*")


def check(path: Path) -> list[tuple[int, str]]:
    """Return line and code of every error that mypy finds in a file."""
    finished = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-pretty", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode in (0, 1), finished.stdout + finished.stderr
    found = re.findall(
        rf"{path.name}:(\d+): error: .*\[([a-z-]+)\]$", finished.stdout, re.MULTILINE
    )
    return [(int(line), code) for line, code in found]


def test_the_signatures_pass() -> None:
    """An ``ignore`` that is not needed is an error too, so nothing is accepted."""
    assert check(SIGNATURES) == []


def test_every_call_that_is_marked_is_refused(tmp_path: Path) -> None:
    """Without the marks the checker complains of the same lines, for that reason."""
    lines = SIGNATURES.read_text("utf-8").splitlines()
    marked = [
        (number, mark[1])
        for number, line in enumerate(lines, 1)
        if (mark := _IGNORE.search(line))
    ]
    bare = tmp_path / "bare.py"
    bare.write_text("\n".join(_IGNORE.sub("", line) for line in lines))

    assert check(bare) == marked
    assert len(marked) >= 5


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("add.enqueue(1, '2')", "arg-type"),
        ("add.enqueue(1)", "call-arg"),
        ("add.enqueue(1, 2, 3)", "call-arg"),
        ("add.enqueue(first=1, third=3)", "call-arg"),
        ("add.options(queue='mail').enqueue(1)", "call-arg"),
        ("add.options(max_attempts='5')", "arg-type"),
        ("add.delay(1, 2)", "attr-defined"),
        ("add.enqueue(1, 2).identity", "attr-defined"),
        ("text: str = add(1, 2)", "assignment"),
        ("with_context.enqueue(current_job, 1)", "call-arg"),
        ("with_context.enqueue('1')", "arg-type"),
        ("forge.enqueue('kind', {}, priorty=1)", "call-arg"),
        ("forge.task(timeout=3)", "call-overload"),
    ],
)
def test_a_wrong_call_is_refused(tmp_path: Path, call: str, code: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(f"{PROGRAM}{call}\n")

    assert code in {found for _, found in check(program)}


PROGRAM = """
from flask_forge_jobs import ForgeJobs, TaskContext, current_job

forge = ForgeJobs()


@forge.task
def add(first: int, second: int) -> int:
    return first + second


@forge.task(queue="mail")
def with_context(context: TaskContext, user_id: int) -> None: ...


"""
