"""Real programs under test: start one, read what it says, stop it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

# This machine may be slow and busy; nothing should ever take as long.
LIMIT_S = 60.0
_LISTENING = re.compile(r"Listening at: http://127\.0\.0\.1:(\d+)")
_LOOK_PERIOD_S = 0.05


def script(name: str) -> str:
    """Return the path of a console script of the present environment."""
    return str(Path(sys.executable).with_name(name))


def wait_until(
    holds: Callable[[], bool],
    what: str,
    limit_s: float = LIMIT_S,
    period_s: float = _LOOK_PERIOD_S,
) -> None:
    """Wait until something outside this process is true.

    Args:
        holds: Asks for it.
        what: It is, for whoever reads of a failure.
        limit_s: Longest wait, in seconds.
        period_s: Between two looks, in seconds.

    Raises:
        TimeoutError: It did not become true in time.
    """
    ends_at = time.monotonic() + limit_s
    pause = threading.Event()
    while not holds():
        if time.monotonic() > ends_at:
            raise TimeoutError(f"not within {limit_s} s: {what}")
        pause.wait(period_s)


def environment(database_url: str, **more: str) -> dict[str, str]:
    """Return the environment of a program whose application uses a database."""
    own = {"FLASK_FORGE_JOBS_DATABASE_URL": database_url, "PYTHONUNBUFFERED": "1"}
    return {**os.environ, **own, **more}


class Program:
    """One started program; its two outputs are read as one.

    Args:
        command: What to start.
        environ: Its environment.
        folder: Its current directory.
    """

    def __init__(
        self, command: Sequence[str], *, environ: Mapping[str, str], folder: Path
    ) -> None:
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._has_ended = False
        self.process = subprocess.Popen(
            command,
            env=environ,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                with self._changed:
                    self._lines.append(line)
                    self._changed.notify_all()
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    @property
    def output(self) -> str:
        """Everything it has said so far."""
        with self._changed:
            return "".join(self._lines)

    def wait_for(
        self, pattern: str | re.Pattern[str], limit_s: float = LIMIT_S
    ) -> re.Match[str]:
        """Wait until a line matches.

        Raises:
            AssertionError: The program ended or the limit passed before.
        """
        wanted = re.compile(pattern)

        def found() -> re.Match[str] | None:
            matches = (wanted.search(line) for line in self._lines)
            return next((match for match in matches if match), None)

        with self._changed:
            self._changed.wait_for(lambda: found() or self._has_ended, limit_s)
            match = found()
        assert match is not None, f"no line matches {wanted.pattern!r}:\n{self.output}"
        return match

    def port(self) -> int:
        """Wait until a server listens; return its port."""
        return int(self.wait_for(_LISTENING)[1])

    def stop(self, limit_s: float = LIMIT_S) -> int:
        """Ask it to stop and return its exit status; kill it when it does not."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            status = self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self._reader.join(limit_s)
        return status


@contextmanager
def running(
    command: Sequence[str], *, environ: Mapping[str, str], folder: Path
) -> Iterator[Program]:
    """Start a program and stop it afterwards."""
    program = Program(command, environ=environ, folder=folder)
    try:
        yield program
    finally:
        program.stop()


@contextmanager
def gunicorn(
    application: Path, database_url: str, folder: Path, *options: str, **environ: str
) -> Iterator[Program]:
    """Serve an application under gunicorn on a free port of loopback.

    Args:
        application: A file with ``create_app``, configured by ``FLASK_`` variables.
        database_url: Its database.
        folder: Its current directory.
        options: Further options of gunicorn.
        environ: Further variables.
    """
    command = [
        script("gunicorn"),
        "--bind=127.0.0.1:0",
        f"--pythonpath={application.parent}",
        *options,
        f"{application.stem}:create_app()",
    ]
    variables = environment(database_url, **environ)
    with running(command, environ=variables, folder=folder) as program:
        yield program
