from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.storage.base import Storage, open_storage


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    """One backend is enough: who is let in does not depend on it."""
    settings = DatabaseSettings(path=tmp_path / "queue.sqlite")
    with contextlib.closing(open_storage(settings)) as opened:
        yield opened
