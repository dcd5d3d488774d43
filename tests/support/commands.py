"""Real programs: an application on disk, the commands that run it, and their output."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from flask_forge_jobs.runtime.foreground import REPEAT_S
from tests.support.runtimes import LIMIT_S

ROOT = Path(__file__).resolve().parents[2]
RELEASE_VARIABLE = "TEST_RELEASE_FILE"

# Tasks print each line with one write, so lines of several threads do not mix.
APPLICATION = """
from __future__ import annotations

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


@forge.task
def crash() -> None:
    say("CRASHING", os.getpid())
    os._exit(9)
"""


class Program:
    """A process whose output is read as it comes.

    Args:
        command: Program and arguments.
        environ: Its environment.
        folder: Its working directory.
    """

    def __init__(
        self, command: Sequence[str], *, environ: Mapping[str, str], folder: Path
    ) -> None:
        self.process = subprocess.Popen(
            command,
            env=dict(environ),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._is_over = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    @property
    def text(self) -> str:
        """Everything written so far, both streams."""
        with self._changed:
            return "\n".join(self._lines)

    def lines_with(self, part: str) -> list[str]:
        """Return the lines so far that hold a text.

        A short one in capitals should have an I, L, O or U, which ids of jobs do not.
        """
        with self._changed:
            return [line for line in self._lines if part in line]

    def wait_for(self, part: str, count: int = 1, limit_s: float = LIMIT_S) -> str:
        """Wait until this many lines contain a text; return the last of them."""
        lines: list[str] = []

        def is_there() -> bool:
            lines[:] = [line for line in self._lines if part in line]
            return len(lines) >= count or self._is_over

        with self._changed:
            self._changed.wait_for(is_there, limit_s)
        assert len(lines) >= count, f"no {count} x {part!r} in:\n{self.text}"
        return lines[count - 1]

    def signal_again(self, number: signal.Signals) -> None:
        """Send a signal that is not taken for a repeat of one that it has had."""
        time.sleep(REPEAT_S)
        self.signal(number)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self, limit_s: float = LIMIT_S) -> int:
        """Wait for the end and return the exit status."""
        try:
            status = self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"does not end; it said:\n{self.text}") from None
        self._reader.join(limit_s)
        return status

    def stop(self) -> int:
        """Ask it to end, and wait."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def end(self) -> None:
        """End it in any case and close its output."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(LIMIT_S)
        if self.process.stdout is not None and not self._reader.is_alive():
            self.process.stdout.close()


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
