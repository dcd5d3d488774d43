from __future__ import annotations

import json

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.api.openapi.document import document
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.api.v1 import description
from tests.api.mounting import PREFIX
from tests.api.noting import Composing


def test_the_document_is_served_with_its_mount_point(client: FlaskClient) -> None:
    answer = client.get(f"{PREFIX}/v1/openapi.json")

    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    served = json.loads(answer.data)
    assert served.pop("servers") == [{"url": PREFIX}]
    assert served == document(all_routes(enable_demo=True))


def test_the_document_knows_where_a_proxy_mounts_the_application(
    client: FlaskClient,
) -> None:
    answer = client.get(
        f"{PREFIX}/v1/openapi.json", environ_overrides={"SCRIPT_NAME": "/shop"}
    )

    assert json.loads(answer.data)["servers"] == [{"url": f"/shop{PREFIX}"}]


def test_the_document_is_composed_by_one_thread_at_a_time(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    composing = Composing(monkeypatch)
    composing.note(description, "encode")
    client.get(f"{PREFIX}/v1/openapi.json")

    assert composing.seen == [("encode", True)]
