"""What every contract test may ask for, on whichever backend it runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.storage.base import Storage
from tests.support.sql import Sql


@pytest.fixture
def sql(storage: Storage, database_settings: DatabaseSettings) -> Iterator[Sql]:
    """SQL beside the stores; afterwards the counts must equal the rows (I8)."""
    del storage  # has made the tables
    beside = Sql(database_settings)
    yield beside
    beside.assert_counts_equal_rows()
