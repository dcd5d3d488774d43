from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from tests.api.mounting import PREFIX


@pytest.mark.parametrize("path", ["/health", "/queue/overview", "/none"])
def test_every_answer_carries_the_protective_headers(
    bare_client: FlaskClient, path: str
) -> None:
    headers = bare_client.get(PREFIX + path).headers

    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize(
    ("path", "body", "since"),
    [
        ("/jobs/requeue", {"ids": []}, "@1767225600"),
        ("/v1/jobs/requeue", {"ids": []}, "@1767225600"),
        ("/jobs/enqueue-demo", {}, "@1767225600"),
        ("/jobs/retry", {"ids": []}, None),
    ],
)
def test_deprecated_routes_say_so(
    client: FlaskClient, path: str, body: dict[str, list[str]], since: str | None
) -> None:
    answer = client.post(PREFIX + path, json=body)

    assert answer.status_code == 200
    assert answer.headers.get("Deprecation") == since
