"""Copies of the checkout: in each of them one mutant at a time is tested."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flask_forge_jobs.tasks.process_groups import ProcessGroup
from tests.mutants.guard import COPY_VARIABLE
from tests.mutants.mutant import PACKAGE, Mutant

# As a plugin of the copy's own, so that it is the copy's package that is asked for.
_GUARD = "tests.mutants.guard"
_COPIED = (PACKAGE, "tests", "docs")
_NOT_COPIED = shutil.ignore_patterns("__pycache__", "_build", ".*")
_FAILURE = re.compile(r"^(?:FAILED|ERROR) (tests/.+?)(?: - .*)?$", re.MULTILINE)
_WHERE = f"import {PACKAGE}; print({PACKAGE}.__file__)"
_PASSED, _FAILED = 0, 1


@dataclass(frozen=True, slots=True)
class Run:
    """What pytest said.

    Args:
        status: Its exit status; None when it had to be killed.
        failures: The test that failed, as its summary names it; none if all passed.
        output: All it printed.
    """

    status: int | None
    failures: tuple[str, ...]
    output: str

    @property
    def has_passed(self) -> bool:
        """Whether every test passed."""
        return self.status == _PASSED

    @property
    def has_failed(self) -> bool:
        """Whether a test failed, and not pytest itself."""
        return self.status == _FAILED and bool(self.failures)


class Copy:
    """A copy of a checkout, its package importable from everywhere.

    Raises:
        RuntimeError: Another package than the copy's would be imported.
    """

    def __init__(self, folder: Path, root: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        folder.mkdir()
        for path in sorted(root.iterdir()):
            if path.name in _COPIED:
                shutil.copytree(path, folder / path.name, ignore=_NOT_COPIED)
            elif path.is_file():
                shutil.copy(path, folder)
        self._environ = dict(environ) | {
            "PYTHONPATH": str(folder),
            COPY_VARIABLE: str(folder),
        }
        # The tests start hundreds of processes, which need not compile all of it each.
        self._environ.pop("PYTHONDONTWRITEBYTECODE", None)
        # No two contents of a file may have the same time, or compiled code of the one
        # would be taken for that of the other.
        self._mutations = 0
        self._check()

    def _check(self) -> None:
        """Start a process as tests do, away from the copy: what does it import?"""
        found = subprocess.run(
            [sys.executable, "-c", _WHERE],
            cwd=self._folder.parent,
            env=self._environ,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        if not Path(found).is_relative_to(self._folder):
            raise RuntimeError(f"a process of the tests in {self._folder} uses {found}")

    @contextlib.contextmanager
    def mutated(self, mutant: Mutant) -> Iterator[None]:
        """Make the mistake within the block."""
        path = self._folder / PACKAGE / mutant.path
        text, times = path.read_text("utf-8"), path.stat()
        self._mutations += 1
        path.write_text(text.replace(mutant.old, mutant.new), "utf-8")
        os.utime(path, (times.st_atime, int(times.st_mtime) - self._mutations))
        try:
            yield
        finally:
            path.write_text(text, "utf-8")
            os.utime(path, (times.st_atime, times.st_mtime))

    def test(self, tests: Sequence[str], limit_s: float) -> Run:
        """Run some of its tests until one fails.

        Args:
            tests: Their names below ``tests``.
            limit_s: Seconds after which they are killed.
        """
        command = [
            sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-m", "",
            "-p", "no:cacheprovider", "-p", _GUARD,
            *(f"tests/{each}" for each in tests),
        ]  # fmt: skip
        log = self._folder / "pytest.log"
        with log.open("wb") as output:
            group = ProcessGroup(
                command,
                environ=self._environ,
                folder=self._folder,
                stdout=output.fileno(),
                stderr=subprocess.STDOUT,
            )
            try:
                has_ended = group.wait(limit_s)
            finally:
                status = group.close()  # those whom it leaves behind as well
        text = log.read_text("utf-8", "replace")
        failures = tuple(_FAILURE.findall(text))
        return Run(status if has_ended else None, failures, text)
