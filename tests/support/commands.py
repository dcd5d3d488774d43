"""Real programs: an application on disk, the commands that run it, and their output."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.programs import Program

ROOT = Path(__file__).resolve().parents[2]
RELEASE_VARIABLE = "TEST_RELEASE_FILE"

# Tasks print each line with one write, so lines of several threads do not mix.
APPLICATION = """
from __future__ import annotations

import logging
import os
import time
from pathlib import Path

from flask import Flask

from flask_forge_jobs import ForgeJobs, TaskContext

app = Flask(__name__, instance_path=os.environ["TEST_INSTANCE"])
app.config.from_prefixed_env()
forge = ForgeJobs(app)


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())


@forge.task
def quick() -> str:
    say("RUN", time.monotonic(), os.getpid())
    return f"by {os.getpid()}"


@forge.task
def held(context: TaskContext) -> str:
    say("STARTED", context.job_id, os.getpid())
    while not Path(os.environ["TEST_RELEASE_FILE"]).exists():
        if context.cancel.wait(0.02):
            raise RuntimeError("stopped when asked")
    say("ENDED", context.job_id, os.getpid())
    return f"by {os.getpid()}"


@forge.task
def stubborn(context: TaskContext) -> None:
    say("STARTED", context.job_id, os.getpid())
    while not Path(os.environ["TEST_RELEASE_FILE"]).exists():
        time.sleep(0.02)


@forge.task(retry=0.1)
def chatty(context: TaskContext) -> None:
    logging.getLogger("shop").info("attempt %s\\n\\x1b[2Jof two", context.attempt)
    if context.attempt == 1:
        raise RuntimeError("tried again at once")
    while not Path(os.environ["TEST_RELEASE_FILE"]).exists():
        if context.cancel.wait(0.02):
            raise RuntimeError("stopped when asked")
    logging.getLogger("shop").warning("released")


@forge.task
def crash() -> None:
    say("CRASHING", os.getpid())
    os._exit(9)
"""


class Application:
    """An application in a folder of its own, and a database.

    Args:
        folder: Where it is written to.
        database_url: ``FORGE_JOBS_DATABASE_URL``.
        settings: Further ``FORGE_JOBS_`` keys, without the prefix.
    """

    def __init__(self, folder: Path, database_url: str, **settings: object) -> None:
        self.folder = folder
        self.release_file = folder / "release"
        (folder / "shop.py").write_text(APPLICATION, encoding="utf-8")
        self.environ = os.environ | {
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "FLASK_APP": "shop",
            "TEST_INSTANCE": str(folder / "instance"),
            RELEASE_VARIABLE: str(self.release_file),
            "FLASK_FORGE_JOBS_DATABASE_URL": database_url,
            # Tests kill processes, never the machine; a slow disk ends no worker.
            "FLASK_FORGE_JOBS_SQLITE_SYNCHRONOUS": "NORMAL",
        }
        for name, value in settings.items():
            self.environ[f"FLASK_FORGE_JOBS_{name.upper()}"] = str(value)

    def release(self) -> None:
        """Release every held task."""
        self.release_file.touch()

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run ``flask forge-jobs`` to its end."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environ | environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    @staticmethod
    def command(*arguments: str) -> list[str]:
        """Return the command line of ``flask forge-jobs``."""
        return [sys.executable, "-m", "flask", "forge-jobs", *arguments]

    @contextlib.contextmanager
    def start(self, *arguments: str, **environ: str) -> Iterator[Program]:
        """Start ``flask forge-jobs``; it is killed at the end of the block."""
        program = Program(
            self.command(*arguments),
            environ=self.environ | environ,
            folder=self.folder,
            forks=True,
        )
        try:
            yield program
        finally:
            program.end()

    @contextlib.contextmanager
    def worker(self, *arguments: str, **environ: str) -> Iterator[Program]:
        """Run a worker that is ready."""
        with self.start("worker", *arguments, **environ) as program:
            program.wait_for(" serves ")
            yield program
