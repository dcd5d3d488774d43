"""The acceptance application, as programs start it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from tests.acceptance import application
from tests.support.programs import Program, gunicorn

FACTORY = f"{application.PATH}:create_app"


def serving(
    database_url: str, folder: Path, *options: str, **environ: str
) -> AbstractContextManager[Program]:
    """Serve it under gunicorn on a free port of loopback."""
    return gunicorn(application.PATH, database_url, folder, *options, **environ)
