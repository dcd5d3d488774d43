"""What the tests of the commands ask for: an application with a database."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.commands import Application


@pytest.fixture
def application(tmp_path: Path, database_url: str) -> Application:
    """An application whose leases are short."""
    return Application(
        tmp_path, database_url, lease_s=LEASE_S, shutdown_grace_s=20, cancel_grace_s=0.1
    )


LEASE_S = 4
