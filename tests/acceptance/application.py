"""The application that the acceptance tests start as real processes.

Programs find it by its path, so it imports nothing of the tests: what runs is the
installed package. Configuration comes from ``FLASK_FORGE_JOBS_...`` variables.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterable
from pathlib import Path
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask, Response

from flask_forge_jobs import ForgeJobs, TaskContext

PATH = Path(__file__)
LEDGER_VARIABLE = "ACCEPTANCE_LEDGER"
# Makes the factory use its storage; under --preload that is before the server forks.
EAGER_VARIABLE = "ACCEPTANCE_EAGER"
# Makes every request come from an address of its own, as if there were many clients.
MANY_CLIENTS_VARIABLE = "ACCEPTANCE_MANY_CLIENTS"
PROCESS_HEADER = "X-Answered-By"
STARTED, ENDED, FAILED = "S", "E", "F"
KIND = "acceptance.work"


class LedgerWriter:
    """Appends what a task does to a file that no product code knows of.

    One ``write`` a line on a descriptor opened with ``O_APPEND``, so lines of many
    processes do not mix, and what was written survives ``kill -9`` in the page cache.

    Args:
        path: The file.
    """

    def __init__(self, path: str) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)

    def note(self, event: str, context: TaskContext) -> None:
        """Append one line: event, job, attempt, owner and process, and the time."""
        line = (
            f"{event} {context.job_id} {context.attempt} "
            f"{context.host_id}/{os.getpid()} {time.monotonic_ns()}\n"
        )
        os.write(self._descriptor, line.encode("ascii"))


class ManyClients:
    """Gives each request an address of its own.

    Args:
        application: What answers.
    """

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application
        self._numbers = itertools.count(1)

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer a request."""
        number = next(self._numbers)
        environ["REMOTE_ADDR"] = (
            f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        )
        return self._application(environ, start_response)


def create_app() -> Flask:
    """Return the application; nothing is opened unless a variable asks for it."""
    app = Flask("acceptance", static_folder=None)
    app.config.from_prefixed_env()
    # Every server of these tests listens on loopback only.
    forge = ForgeJobs(app, open_to_loopback=True)
    path = os.environ.get(LEDGER_VARIABLE)
    if path:
        _register_work(forge, LedgerWriter(path))

    if os.environ.get(EAGER_VARIABLE):
        with app.app_context():
            forge.enqueue("acceptance.eager", {"pid": os.getpid()})
            forge.storage.job_reader.statistics()

    if os.environ.get(MANY_CLIENTS_VARIABLE):
        app.wsgi_app = ManyClients(app.wsgi_app)  # type: ignore[method-assign]

    @app.after_request
    def name_the_process(response: Response) -> Response:
        response.headers[PROCESS_HEADER] = str(os.getpid())
        return response

    return app


def _register_work(forge: ForgeJobs, ledger: LedgerWriter) -> None:
    @forge.task(kind=KIND)
    def work(
        context: TaskContext,
        number: int,
        sleep_ms: int,
        *,
        again_ms: int | None = None,
        fails_once: bool = False,
    ) -> dict[str, object]:
        """Take some time, more when run again; fail at first when asked to."""
        ledger.note(STARTED, context)
        takes_ms = sleep_ms if again_ms is None or context.attempt == 1 else again_ms
        time.sleep(takes_ms / 1000)
        if fails_once and context.attempt == 1:
            ledger.note(FAILED, context)
            raise RuntimeError("fails once")
        ledger.note(ENDED, context)
        # Stored by whoever finishes the job, so the row tells which run that was.
        return {
            "number": number,
            "host_id": context.host_id,
            "attempt": context.attempt,
        }
