from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import mount_shared
from tests.conformance.seeding import seed, seed_schedule
from tests.support.sql import Sql


@pytest.fixture
def client(storage: Storage, database_settings: DatabaseSettings) -> FlaskClient:
    """A client of the blueprint below a prefix, with the contract's data set."""
    mounted = mount_shared(storage)
    seed(storage, Sql(database_settings))
    seed_schedule(mounted)
    return mounted
