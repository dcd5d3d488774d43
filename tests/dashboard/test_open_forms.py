"""Forms that strangers may send, too: no body is read beyond a small bound."""

from __future__ import annotations

import io
from unittest.mock import patch

import pytest

from flask_forge_jobs.blueprint import BlueprintOptions
from tests.api.mounting import PREFIX, mount
from tests.dashboard.sites import UNASKED

UPLOAD = (
    b'--x\r\nContent-Disposition: form-data; name="theme"; filename="f"\r\n\r\n'
    + b"a" * 1_000_000
    + b"\r\n--x--\r\n"
)
MULTIPART = "multipart/form-data; boundary=x"
URLENCODED = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("path", ["preferences", "views", "sign-in", "sign-out"])
@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (UPLOAD, MULTIPART, 415),
        (b"theme=dark&a=" + b"a" * 400_000, URLENCODED, 413),
    ],
)
def test_a_strangers_form_is_small(
    path: str, body: bytes, content_type: str, status: int
) -> None:
    client = mount(UNASKED, BlueprintOptions(authenticator=lambda _: None))

    # A file that is sent would lie on the disk, whatever its size.
    with patch("werkzeug.formparser.default_stream_factory") as stored:
        answer = client.post(
            f"{PREFIX}/{path}",
            input_stream=io.BytesIO(body),
            content_length=len(body),
            content_type=content_type,
            headers={"Sec-Fetch-Site": "same-origin"},
        )

    assert answer.status_code == status
    assert not stored.called
