"""mypy and pyright agree with what ``test_task_signatures`` says of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# The gate's own run of mypy finds nothing to complain of in it.
SIGNATURES = Path(__file__).with_name("test_task_signatures.py")
SHOP = ROOT / "tests/examples/shop"
_IGNORE = re.compile(r"  # type: ignore\[([a-z-]+)\].*")
WRONG_CALLS = [
    ("add.enqueue(1, '2')", "arg-type"),
    ("add.enqueue(1)", "call-arg"),
    ("add.enqueue(1, 2, 3)", "call-arg"),
    ("add.enqueue(first=1, third=3)", "call-arg"),
    ("add.options(queue='mail').enqueue(1)", "call-arg"),
    ("add.options(max_attempts='5')", "arg-type"),
    ("add.options(isolation='process')", "call-arg"),
    ("add.delay(1, 2)", "attr-defined"),
    ("add.enqueue(1, 2).identity", "attr-defined"),
    ("text: str = add(1, 2)", "assignment"),
    ("with_context.enqueue(current_job, 1)", "call-arg"),
    ("with_context.enqueue('1')", "arg-type"),
    ("forge.enqueue('kind', {}, priorty=1)", "call-arg"),
    ("forge.enqueue('kind', {}, run_at='now')", "arg-type"),
    ("forge.task(timeout=3)", "call-overload"),
    ("forge.task(isolation='fork')", "call-overload"),
    ("forge.task(run_at=None)", "call-overload"),
    ("options: EnqueueOptions = {'priority': 'high'}", "typeddict-item"),
]
PROGRAM = """
from flask_forge_jobs import EnqueueOptions, ForgeJobs, TaskContext, current_job

forge = ForgeJobs()


@forge.task
def add(first: int, second: int) -> int:
    return first + second


@forge.task(queue="mail")
def with_context(context: TaskContext, user_id: int) -> None: ...


"""


@pytest.mark.long
def test_every_wrong_call_is_refused_for_its_reason(tmp_path: Path) -> None:
    """Without its marks the checker complains of the same lines of the signatures."""
    lines = SIGNATURES.read_text("utf-8").splitlines()
    marked = [
        (number, mark[1])
        for number, line in enumerate(lines, 1)
        if (mark := _IGNORE.search(line))
    ]
    bare = tmp_path / "bare.py"
    bare.write_text("\n".join(_IGNORE.sub("", line) for line in lines))
    program = tmp_path / "program.py"
    program.write_text(PROGRAM + "".join(f"{call}\n" for call, _ in WRONG_CALLS))
    first = PROGRAM.count("\n") + 1

    found = check(bare, program)

    assert found[bare] == marked
    assert len(marked) >= 5
    for line, (call, code) in enumerate(WRONG_CALLS, first):
        assert (line, code) in found[program], call


@pytest.mark.long
def test_pyright_refuses_the_same_calls_and_accepts_the_others(tmp_path: Path) -> None:
    """basedpyright, because it brings its program along and loads nothing."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM + "".join(f"{call}\n" for call, _ in WRONG_CALLS))
    settings = {"typeCheckingMode": "standard", "extraPaths": [str(ROOT)]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))

    finished = subprocess.run(
        [
            sys.executable, "-m", "basedpyright", "--project", str(tmp_path),
            "--pythonpath", sys.executable, "--outputjson",
            str(program), str(SIGNATURES), str(SHOP),
        ],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip

    found = json.loads(finished.stdout)["generalDiagnostics"]
    errors = {
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1)
        for each in found
        if each["severity"] == "error"
    }
    first = PROGRAM.count("\n") + 1
    assert errors == {
        (program.name, line) for line in range(first, first + len(WRONG_CALLS))
    }


def check(*paths: Path) -> dict[Path, list[tuple[int, str]]]:
    """Return line and code of every error that mypy finds in each of these files."""
    finished = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-pretty", *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode in (0, 1), finished.stdout + finished.stderr
    found: dict[Path, list[tuple[int, str]]] = {path: [] for path in paths}
    for path in paths:
        pattern = rf"{path.name}:(\d+): error: .*\[([a-z-]+)\]$"
        for line, code in re.findall(pattern, finished.stdout, re.MULTILINE):
            found[path].append((int(line), code))
    return found
