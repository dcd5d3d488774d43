"""Routes read and write through the handlers."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import mount_failing, mount_shared
from tests.support.backends import backend

__all__ = ["backend"]


@pytest.fixture
def client(storage: Storage) -> FlaskClient:
    return mount_shared(storage)


@pytest.fixture
def bare_client() -> FlaskClient:
    """A client of an API that answers 500 as soon as it asks its storage."""
    return mount_failing(AssertionError("the storage was asked"))
