"""``--reload``: replaces a worker process once a source file has changed.

Its jobs end before. Werkzeug's reloader does not fit: it kills its child, and the
running jobs with it, 0.25 s after Ctrl-C.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import click

from flask_forge_jobs.cli.ends import begin_anew

# How often --reload looks, after an error, whether a source file has changed.
LOOK_PERIOD_S = 1.0


class SourceFiles:
    """The files of the loaded modules, with their modification times."""

    def __init__(self) -> None:
        self._written_ns: dict[str, int] = {}

    def changed(self) -> str | None:
        """Return a file that has changed since it was loaded, or None."""
        for module in list(sys.modules.values()):
            self.see(getattr(module, "__file__", None))
        return next(filter(self._has_changed, self._written_ns), None)

    def see(self, path: str | None) -> None:
        """Watch a file, unless it cannot be read."""
        if path is not None and path not in self._written_ns:
            with contextlib.suppress(OSError):
                self._written_ns[path] = Path(path).stat().st_mtime_ns

    def _has_changed(self, path: str) -> bool:
        try:
            return Path(path).stat().st_mtime_ns != self._written_ns[path]
        except OSError:  # an editor is replacing it
            return False


@contextlib.contextmanager
def surviving_errors(files: SourceFiles) -> Iterator[None]:
    """If the program fails to load, show the error and restart after a change."""
    try:
        yield
    except (click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:  # noqa: BLE001  # the program may raise anything
        if isinstance(error, click.ClickException):
            error.show()
        else:
            traceback.print_exception(error)
        if isinstance(error, SyntaxError):
            files.see(error.filename)
        for frame, _ in traceback.walk_tb(error.__traceback__):
            files.see(frame.f_code.co_filename)
        files.changed()
        click.echo("waiting for a source file to change", err=True)
        while files.changed() is None:
            threading.Event().wait(LOOK_PERIOD_S)
        begin_anew()
