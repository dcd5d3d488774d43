from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

import flask_forge_jobs
from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.api.routes import Reach
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.auth.permissions import Permission, Principal
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_of_principal, client_with_token

RETRY = {"method": "POST", "path": "/v1/jobs/{job_id}/retry"}
CREATE_SCHEDULE = {"method": "POST", "path": "/v1/cron"}


def me(client: FlaskClient, environ: Mapping[str, object] | None = None) -> Any:
    answer = client.get(f"{PREFIX}/v1/me", environ_overrides=environ)
    assert answer.status_code == 200
    return answer.json


def test_a_token_learns_what_it_is(storage: Storage) -> None:
    found = me(client_with_token(storage, "operator", token_id="deploy"))

    assert list(found) == [
        "name", "roles", "permissions", "queues", "read_only", "may_change", "version",
    ]  # fmt: skip
    assert found["name"] == "deploy"
    assert found["roles"] == ["metrics", "viewer", "operator"]
    assert "jobs.retry" in found["permissions"]
    assert "payload.reveal" not in found["permissions"]
    assert (found["queues"], found["read_only"]) == (None, False)
    assert found["version"] == flask_forge_jobs.__version__
    assert RETRY in found["may_change"]
    assert CREATE_SCHEDULE in found["may_change"]


def test_an_administrator_may_change_all_that_is_not_deprecated(
    storage: Storage,
) -> None:
    found = me(client_with_token(storage, "admin"))

    assert len(found["may_change"]) == sum(
        route.mutates and not route.is_deprecated and route.path.startswith("/v1/")
        for route in all_routes(enable_demo=True)
    )


def test_a_viewer_may_change_nothing(storage: Storage) -> None:
    assert me(client_with_token(storage, "viewer"))["may_change"] == []


def test_a_limited_caller_may_change_only_what_knows_queues(storage: Storage) -> None:
    found = me(client_with_token(storage, "operator", ["mail", "bulk"]))

    assert found["queues"] == ["bulk", "mail"]
    assert RETRY in found["may_change"]
    assert CREATE_SCHEDULE not in found["may_change"]
    cluster = {
        (route.method, route.template)
        for route in all_routes(enable_demo=True)
        if route.reach is Reach.CLUSTER
    }
    changes = {(each["method"], each["path"]) for each in found["may_change"]}
    assert not cluster & changes


def test_nobody_may_change_a_service_that_is_read_only(storage: Storage) -> None:
    found = me(client_with_token(storage, "admin", read_only=True))

    assert (found["read_only"], found["may_change"]) == (True, [])
    assert "admin" in found["permissions"]


@pytest.mark.parametrize(
    ("address", "read_only"), [("127.0.0.1", False), ("::2", True)]
)
def test_from_afar_a_server_with_the_debugger_is_read_only(
    storage: Storage, address: str, *, read_only: bool
) -> None:
    client = client_with_token(storage, "admin")
    preserve = {"werkzeug.debug.preserve_context": lambda _context: None}
    environ = {**preserve, "REMOTE_ADDR": address}

    assert me(client, environ)["read_only"] is read_only


def test_permissions_without_a_role_have_no_role(storage: Storage) -> None:
    caller = Principal("ann", frozenset({Permission.READ}), frozenset())

    found = me(client_of_principal(storage, caller))

    assert (found["name"], found["roles"]) == ("user:ann", [])
    assert (found["permissions"], found["queues"]) == (["read"], [])


def test_without_an_authenticator_this_machine_is_the_caller() -> None:
    app = Flask("shop")
    app.testing = True
    ForgeJobs(app)

    answer = app.test_client().get("/forge-jobs/v1/me")

    assert answer.json is not None
    assert (answer.json["name"], answer.json["queues"]) == ("local", None)
    assert answer.json["permissions"] == sorted(Permission)
