"""What the tests of the commands ask for: an application with a database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.console import Console
from tests.support.commands import Application


@pytest.fixture
def application(tmp_path: Path, database_url: str) -> Application:
    """An application whose leases are short."""
    return Application(
        tmp_path, database_url, lease_s=LEASE_S, shutdown_grace_s=20, cancel_grace_s=0.1
    )


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    """The commands of an application on SQLite."""
    made = Console(tmp_path)
    yield made
    made.storage.close()


@pytest.fixture
def either_console(tmp_path: Path, database_url: str) -> Iterator[Console]:
    """The commands of an application on each database."""
    made = Console(tmp_path, database_url)
    yield made
    made.storage.close()


LEASE_S = 4
