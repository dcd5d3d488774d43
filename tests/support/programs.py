"""Real programs under test: start one, read what it says, stop it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from flask_forge_jobs.runtime.foreground import REPEAT_S
from tests.support.preloaded import Fork
from tests.support.waiting import LIMIT_S

_LISTENING = re.compile(r"Listening at: http://127\.0\.0\.1:(\d+)")


def script(name: str) -> str:
    """Return the path of a console script of the present environment."""
    return str(Path(sys.executable).with_name(name))


def environment(database_url: str, **more: str) -> dict[str, str]:
    """Return the environment of a program whose application uses a database."""
    own = {"FLASK_FORGE_JOBS_DATABASE_URL": database_url, "PYTHONUNBUFFERED": "1"}
    return {**os.environ, **own, **more}


class Program:
    """A process whose output is read as it comes.

    Args:
        command: Program and arguments.
        environ: Its environment.
        folder: Its working directory.
        forks: Whether it is a fork of a process that has loaded it, which takes a tenth
            of the time; the command is then ``python -m`` with a module.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environ: Mapping[str, str],
        folder: Path,
        forks: bool = False,
    ) -> None:
        self.process = (
            Fork(*command[2:], environ=environ, folder=folder)
            if forks
            else subprocess.Popen(
                command,
                env=dict(environ),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
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

    def match(
        self, pattern: str | re.Pattern[str], limit_s: float = LIMIT_S
    ) -> re.Match[str]:
        """Wait until a line matches."""
        matches: list[re.Match[str]] = []

        def is_there() -> bool:
            found = map(re.compile(pattern).search, self._lines)
            matches[:] = [each for each in found if each]
            return bool(matches) or self._is_over

        with self._changed:
            self._changed.wait_for(is_there, limit_s)
        assert matches, f"no line matches {pattern!r}:\n{self.text}"
        return matches[0]

    def port(self) -> int:
        """Wait until a server listens; return its port."""
        return int(self.match(_LISTENING)[1])

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


@contextmanager
def running(
    command: Sequence[str], *, environ: Mapping[str, str], folder: Path
) -> Iterator[Program]:
    """Start a program and stop it afterwards."""
    program = Program(command, environ=environ, folder=folder)
    try:
        yield program
        program.stop()
    finally:
        program.end()


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
