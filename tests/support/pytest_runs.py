"""Runs of pytest in processes of their own, which find everything loaded."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# Starts once, which takes most of the time, and runs as often as it is told to.
_FORKING = """
import os, sys
import flask.testing, pytest
import flask_forge_jobs.extension, flask_forge_jobs.testing

for line in sys.stdin:
    folder, arguments, output = eval(line)
    pid = os.fork()
    if pid == 0:
        descriptor = os.open(output, os.O_CREAT | os.O_WRONLY)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.close(descriptor)
        os.chdir(folder)
        sys.exit(pytest.main(arguments))
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
OPTIONS = ("-p", "no:cacheprovider", "--strict-markers")


def environ() -> dict[str, str]:
    """Return the environment of such a run, with no plugin of what is installed."""
    package = importlib.util.find_spec("flask_forge_jobs")
    assert package is not None
    return os.environ | {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "",
        "PYTHONPATH": str(Path(str(package.origin)).parents[1]),
    }


class PytestRuns:
    """Runs pytest in folders.

    Args:
        process: The one that forks for each run.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, folder: Path, *options: str) -> tuple[int, str]:
        """Run pytest in a folder; return its exit status and what it printed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        output = folder.with_name(f"{folder.name}.txt")
        told = (str(folder), [*OPTIONS, *options], str(output))
        self._process.stdin.write(f"{told!r}\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        return status, output.read_text("utf-8")


@contextlib.contextmanager
def pytest_runs() -> Iterator[PytestRuns]:
    """Start the process, and end it afterwards."""
    with subprocess.Popen(
        [sys.executable, "-c", _FORKING],
        env=environ(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield PytestRuns(process)
        assert process.stdin is not None
        process.stdin.close()
