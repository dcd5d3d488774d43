"""Clients that send a bearer token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from flask_forge_jobs.api.blueprint import BlueprintOptions, create_blueprint
from flask_forge_jobs.auth.tokens import TokenSet, new_token
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX


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
    app = Flask("host")
    chosen = BlueprintOptions(
        tokens=TokenSet.from_config([entry]), **{"enable_demo": True, **options}
    )
    app.register_blueprint(create_blueprint(storage, options=chosen), url_prefix=PREFIX)
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client
