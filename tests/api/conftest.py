from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.storage.base import Storage
from tests.api.faulty import faulty_storage
from tests.api.mounting import mount_shared


@pytest.fixture
def client(storage: Storage) -> FlaskClient:
    return mount_shared(storage)


@pytest.fixture
def bare_client() -> FlaskClient:
    """A client of an API that answers 500 as soon as it asks its storage."""
    unasked = faulty_storage(AssertionError("the storage was asked"))
    return mount_shared(unasked)
