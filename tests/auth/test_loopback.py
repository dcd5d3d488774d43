"""The three conditions one by one; ``test_access.py`` has them at the door."""

from __future__ import annotations

import pytest
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from flask_forge_jobs.auth.loopback import (
    is_debugged_from_afar,
    is_loopback,
    is_loopback_host,
    is_plainly_local,
)


def _request(**environ: object) -> Request:
    local = {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost"}
    return Request(EnvironBuilder().get_environ() | local | environ)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True),
        ("::ffff:127.0.0.1", True), ("10.0.0.1", False), ("::ffff:10.0.0.1", False),
        ("", False), ("localhost", False), ("127.1", False),
    ],
)  # fmt: skip
def test_is_loopback(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True), ("LOCALHOST:80", True), ("127.0.0.1:80", True),
        ("[::1]", True), ("[::1]:80", True), ("::1", False), ("localhost.", False),
        ("evil.test", False), ("", False), ("localhost:80:80", False),
    ],
)  # fmt: skip
def test_is_loopback_host(host: str, expected: bool) -> None:
    assert is_loopback_host(host) is expected


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, True),
        ({"REMOTE_ADDR": "10.0.0.1"}, False),
        ({"HTTP_HOST": "evil.test"}, False),
        ({"HTTP_VIA": "1.1 proxy"}, False),
        ({"HTTP_X_FORWARDED_FOR": "127.0.0.1"}, False),
    ],
)
def test_is_plainly_local(environ: dict[str, object], expected: bool) -> None:
    assert is_plainly_local(_request(**environ)) is expected


def test_is_debugged_from_afar() -> None:
    debugger = {"werkzeug.debug.preserve_context": print}

    assert is_debugged_from_afar(_request(REMOTE_ADDR="10.0.0.1", **debugger))
    assert not is_debugged_from_afar(_request(**debugger))
    assert not is_debugged_from_afar(_request(REMOTE_ADDR="10.0.0.1"))
