"""The worker process of a demo server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from flask_forge_jobs.config.variables import PARENT_PIPE_VARIABLE
from flask_forge_jobs.forks import private_pipe

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter
    from gunicorn.workers.base import Worker

# By name: the demo is in a layer above.
DEMO_MODULE = "flask_forge_jobs.demo"
COMPANION_LIMIT_S = 20.0  # more than the companion needs for its last writes


class DemoCompanion:
    """The worker process of a demo server; it stops when the server does."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start once the server listens."""
        reader, self._writer = private_pipe()
        command = [sys.executable, "-m", DEMO_MODULE, str(self._data)]
        self._process = subprocess.Popen(  # noqa: S603  # our own module
            command,
            env=os.environ | {PARENT_PIPE_VARIABLE: str(reader)},
            pass_fds=[reader],
            start_new_session=True,
        )
        os.close(reader)

    def leave_to_the_server(self, server: Arbiter, worker: Worker) -> None:
        """Forget it in a server process, whose child it is not."""
        del server, worker
        if self._process is not None:
            self._process.returncode = 0

    def stop(self, _: Arbiter) -> None:
        """Stop it and wait for its last writes."""
        if self._process is not None:
            self._writer.close()  # a signal could be its second one
            try:
                self._process.wait(COMPANION_LIMIT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
