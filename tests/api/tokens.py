"""Clients that send a bearer token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.auth.tokens import TokenSet, new_token
from flask_forge_jobs.blueprint import BlueprintOptions, create_blueprint
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import LINK_SECRETS, PREFIX


def client_with_token(
    storage: Storage | Callable[[], Storage],
    role: str,
    queues: Sequence[str] | None = None,
    *,
    token_id: str = "ci",
    **options: Any,
) -> FlaskClient:
    """Return a client of a mounted blueprint that sends a token of a role."""
    token, digest = new_token(token_id)
    entry = {"id": token_id, "sha256": digest, "role": role, "queues": queues}
    client = _client(storage, tokens=TokenSet.from_config([entry]), **options)
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


def client_of_principal(
    storage: Storage | Callable[[], Storage], principal: Principal, **options: Any
) -> FlaskClient:
    """Return a client of a blueprint whose authenticator knows everybody as one."""
    client = _client(storage, authenticator=lambda _: principal, **options)
    # What a program sends with a request that has no body; see auth/csrf.py.
    client.environ_base["HTTP_X_FORGE_JOBS"] = "1"
    return client


def _client(storage: Storage | Callable[[], Storage], **options: Any) -> FlaskClient:
    app = Flask("host")
    chosen = BlueprintOptions(
        **{"enable_demo": True, "link_secrets": LINK_SECRETS, **options}
    )
    app.register_blueprint(create_blueprint(storage, options=chosen), url_prefix=PREFIX)
    return app.test_client()
