from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient

from tests.api.mounting import PREFIX

URL = f"{PREFIX}/health"


@pytest.mark.parametrize("offered", ["a", "Ab9._-", "x" * 128])
def test_request_id_is_echoed(client: FlaskClient, offered: str) -> None:
    answer = client.get(URL, headers={"X-Request-Id": offered})

    assert answer.headers["X-Request-Id"] == offered


@pytest.mark.parametrize("offered", ["", "a b", "x" * 129, "é", "a,b", "<script>"])
def test_request_id_of_another_form_is_replaced(
    client: FlaskClient, offered: str
) -> None:
    answer = client.get(URL, headers={"X-Request-Id": offered})

    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-Id"])


def test_request_ids_differ(client: FlaskClient) -> None:
    ids = {client.get(URL).headers["X-Request-Id"] for _ in range(3)}

    assert len(ids) == 3


def test_unmatched_url_has_one_request_id(client: FlaskClient) -> None:
    answer = client.get(f"{PREFIX}/none", headers={"X-Request-Id": "mine"})

    assert answer.headers.getlist("X-Request-Id") == ["mine"]
