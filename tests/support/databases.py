"""Fresh databases for drivers that run outside pytest."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.postgres import fresh_database, running_server


def sqlite_url(path: Path) -> str:
    """Return the URL of a SQLite file."""
    return f"sqlite:///{path.absolute()}"


@contextlib.contextmanager
def fresh_url(backend: str) -> Iterator[str]:
    """Yield the URL of an empty database of one backend; it is gone afterwards."""
    if backend == "sqlite":
        with tempfile.TemporaryDirectory(prefix="forge-sqlite-") as folder:
            yield sqlite_url(Path(folder) / "queue.sqlite")
        return
    with running_server() as server, fresh_database(server) as url:
        yield url
