"""``worker --reload``: begin anew when a file of the program has changed.

The process replaces itself once its jobs have ended. Werkzeug's reloader is no help: it
kills its child, and with it the running jobs, a quarter of a second after Ctrl-C.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import click

from flask_forge_jobs.runtime.children import own_command

LOOK_PERIOD_S = 1.0


class SourceFiles:
    """The files of the modules that are loaded, and when each was written."""

    def __init__(self) -> None:
        self._written_ns: dict[str, int] = {}

    def changed(self) -> str | None:
        """Return a file that has changed since it was first seen, or None."""
        for module in list(sys.modules.values()):
            self.see(getattr(module, "__file__", None))
        return next(filter(self._has_changed, self._written_ns), None)

    def see(self, path: str | None) -> None:
        """Look after one more file, unless it cannot be read."""
        if path is not None and path not in self._written_ns:
            with contextlib.suppress(OSError):
                self._written_ns[path] = Path(path).stat().st_mtime_ns

    def _has_changed(self, path: str) -> bool:
        try:
            return Path(path).stat().st_mtime_ns != self._written_ns[path]
        except OSError:  # an editor is about to put another in its place
            return False


@contextlib.contextmanager
def surviving_errors(files: SourceFiles) -> Iterator[None]:
    """Show what a program raises that does not load; begin anew once it is changed."""
    try:
        yield
    except (click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:  # noqa: BLE001  # whatever a program raises
        if isinstance(error, click.ClickException):
            error.show()
        else:
            traceback.print_exception(error)
        if isinstance(error, SyntaxError):
            files.see(error.filename)
        for frame, _ in traceback.walk_tb(error.__traceback__):
            files.see(frame.f_code.co_filename)
        files.changed()
        click.echo("waiting for a change of the program", err=True)
        while files.changed() is None:
            threading.Event().wait(LOOK_PERIOD_S)
        begin_anew()


def begin_anew() -> NoReturn:
    """Replace this process by another one with the same command line."""
    logging.shutdown()
    sys.stdout.flush()
    command = own_command()
    os.execv(command[0], command)  # noqa: S606  # our own command line
