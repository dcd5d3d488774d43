"""An application with the blueprint mounted in it."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask
from flask.testing import FlaskClient

from flask_forge_jobs.api.blueprint import BlueprintOptions, create_blueprint
from flask_forge_jobs.storage.base import Storage

PREFIX = "/api/queue"


def mount(
    storage: Storage | Callable[[], Storage],
    options: BlueprintOptions | None = None,
    *,
    app: Flask | None = None,
    testing: bool = True,
) -> FlaskClient:
    """Mount the blueprint in an application under test and return its client."""
    host = app or Flask("host")
    host.testing = testing
    blueprint = create_blueprint(storage, options=options)
    host.register_blueprint(blueprint, url_prefix=PREFIX)
    client = host.test_client()
    # What a program sends with a request that has no body; see auth/csrf.py.
    client.environ_base["HTTP_X_FORGE_JOBS"] = "1"
    return client
