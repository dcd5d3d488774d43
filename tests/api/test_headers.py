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
