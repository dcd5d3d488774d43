"""An application with the blueprint mounted in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from flask import Flask
from flask.testing import FlaskClient

from flask_forge_jobs.blueprint import BlueprintOptions, create_blueprint
from flask_forge_jobs.storage.base import Storage
from tests.api.faulty import faulty_storage

PREFIX = "/api/queue"
# Sign the status links of a shared application.
LINK_SECRETS = ("a secret of the tests, long enough",)


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
    return _client_of(host)


def mount_shared(storage: Storage) -> FlaskClient:
    """Return a new client of an application that the tests of this process share.

    To mount a hundred routes takes longer than most tests that send one request. The
    application has the demo routes and is otherwise as it comes; whoever counts its
    requests, or adds something to it, needs one of its own.
    """
    return _shared("storage").client(storage)


def mount_failing(error: Exception) -> FlaskClient:
    """Return a new client of the one whose storage raises an error at each use.

    It is another application: the first asks its storage once for what it keeps.
    """
    return _shared("error").client(faulty_storage(error))


class _SharedHost:
    """An application whose storage each test exchanges."""

    def __init__(self) -> None:
        self._storage: Storage | None = None
        options = BlueprintOptions(enable_demo=True, link_secrets=LINK_SECRETS)
        self._app = mount(self._present, options).application

    def client(self, storage: Storage) -> FlaskClient:
        """Return a new client; those there are use the storage as well."""
        self._storage = storage
        return _client_of(self._app)

    def _present(self) -> Storage:
        assert self._storage is not None
        return self._storage


@cache
def _shared(_name: str) -> _SharedHost:
    return _SharedHost()


def _client_of(app: Flask) -> FlaskClient:
    client = app.test_client()
    # What a program sends with a request that has no body; see auth/csrf.py.
    client.environ_base["HTTP_X_FORGE_JOBS"] = "1"
    return client
