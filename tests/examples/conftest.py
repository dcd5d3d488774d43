from __future__ import annotations

import pytest

from flask_forge_jobs.config.database import DatabaseSettings


@pytest.fixture
def database_url(
    database_settings: DatabaseSettings, request: pytest.FixtureRequest
) -> str:
    """The key that leads an application to an empty database of each backend."""
    if database_settings.backend == "sqlite":
        return f"sqlite:///{database_settings.path}"
    url: str = request.getfixturevalue("postgres_database")
    return url
