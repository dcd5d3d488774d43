from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import mount_shared
from tests.conformance.seeding import seed, seed_schedule
from tests.support.sql import Sql


@pytest.fixture
def sql(storage: Storage, database_settings: DatabaseSettings) -> Sql:
    """SQL beside the stores."""
    storage.open()
    return Sql(database_settings)


@pytest.fixture
def seeded(storage: Storage, sql: Sql) -> Storage:
    """The contract's data set."""
    seed(storage, sql)
    seed_schedule(mount_shared(storage))
    return storage


@pytest.fixture
def client(seeded: Storage) -> FlaskClient:
    """A client of the blueprint over the contract's data set."""
    return mount_shared(seeded)
