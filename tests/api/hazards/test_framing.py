"""H19 and H24: how a body is framed and what headers may be, over a raw socket.

A client library would repair most of this, so bytes go to a real gunicorn.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.client import HOST, PREFIX, Answer, send_bytes
from tests.support.databases import sqlite_url
from tests.support.parsers import strict_only
from tests.support.programs import gunicorn

LIMIT = 2_097_152
BODY = b'{"kind":"k","payload":{}}'
JSON = "Content-Type: application/json"
PATH = f"{PREFIX}/jobs/enqueue"
APPLICATION = """
from flask import Flask
from flask_forge_jobs import ForgeJobs

def create_app():
    app = Flask("framing")
    app.config.from_prefixed_env()
    ForgeJobs(app, open_to_loopback=True)
    return app
"""

# Of an application's server, and of forge-jobs-server.
WORKERS = ("gthread", "flask_forge_jobs.server_worker.GatheringWorker")


@pytest.fixture(scope="module", params=WORKERS, ids=["gthread", "gathering"])
def port(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """The port of a server that is open to this machine."""
    folder = tmp_path_factory.mktemp("framing")
    with ExitStack() as stack:
        application = folder / "framing.py"
        application.write_text(APPLICATION, "utf-8")
        url = sqlite_url(folder / "queue.sqlite")
        options = (f"--worker-class={request.param}", "--threads=4")
        yield stack.enter_context(gunicorn(application, url, folder, *options)).port()


def request(
    port: int, *headers: str, body: bytes = b"", method: str = "POST", path: str = PATH,
    ends: bool = False,
) -> Answer:  # fmt: skip
    """Send a request as it is written and return the answer."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}:{port}", *headers]
    head = "\r\n".join([*lines, "Connection: close", "", ""])
    return send_bytes(port, head.encode("latin-1") + body, ends=ends)


def chunked(body: bytes, size: int = 65_536) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return (
        b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    )


def test_H19_no_length_is_no_body(port: int) -> None:
    answer = request(port, JSON)

    assert (answer.status, answer.fault) == (400, ("validation", "json"))


def test_H19_a_chunked_body_is_read_whole(port: int) -> None:
    answer = request(
        port, JSON, "Transfer-Encoding: chunked", body=chunked(BODY, size=3)
    )

    assert answer.status == 200


@pytest.mark.parametrize("excess", [0, 1])
def test_H19_a_chunked_body_has_the_same_limit(port: int, excess: int) -> None:
    body = BODY + b" " * (LIMIT - len(BODY) + excess)

    answer = request(port, JSON, "Transfer-Encoding: chunked", body=chunked(body))

    assert answer.status == (413 if excess else 200)


def test_H19_a_body_shorter_than_it_says_is_not_taken(port: int) -> None:
    answer = request(
        port, JSON, f"Content-Length: {len(BODY) + 5}", body=BODY, ends=True
    )

    assert (answer.status, answer.fault) == (400, ("validation", "body"))


def test_H19_what_follows_a_body_is_not_part_of_it(port: int) -> None:
    answer = request(port, JSON, f"Content-Length: {len(BODY)}", body=BODY + b"}}}")

    assert answer.status == 200


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: -1",),
        ("Content-Length: +5",),
        ("Content-Length: 0x5",),
        ("Content-Length: 5, 5",),
        pytest.param(
            ("Content-Length: 5", "Transfer-Encoding: chunked"), marks=strict_only
        ),
        pytest.param(
            ("Transfer-Encoding: identity, chunked, gzip",), marks=strict_only
        ),
        pytest.param(("Transfer-Encoding: \x0bchunked",), marks=strict_only),
        ("Transfer-Encoding : chunked",),
        ("Content-Length : 5",),
    ],
)
def test_H19_two_lengths_are_none(port: int, headers: tuple[str, ...]) -> None:
    answer = request(port, JSON, *headers, body=chunked(BODY))

    assert 400 <= answer.status < 500 or answer.status == 501


@pytest.mark.parametrize("chunk", [b"zz\r\n", b"-1\r\n", b"5\r\nab", b"ffffffffff\r\n"])
def test_H19_a_damaged_chunk_is_refused(port: int, chunk: bytes) -> None:
    answer = request(port, JSON, "Transfer-Encoding: chunked", body=chunk, ends=True)

    assert answer.status == 400


def test_H19_who_asks_first_is_answered(port: int) -> None:
    answer = request(
        port, JSON, "Expect: 100-continue", f"Content-Length: {len(BODY)}", body=BODY
    )

    assert answer.status in {100, 200}


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("DELETE", 405)])
def test_H19_a_body_that_nobody_reads_does_no_harm(
    port: int, method: str, status: int
) -> None:
    answer = request(
        port, JSON, f"Content-Length: {len(BODY)}", body=BODY, method=method,
        path=f"{PREFIX}/queue/overview",
    )  # fmt: skip

    assert answer.status == status


@pytest.mark.parametrize(
    "headers",
    [
        tuple(f"X-Header-{n}: x" for n in range(200)),
        (f"X-Long: {'x' * 65_536}",),
        pytest.param(("X-Folded: a\r\n b",), marks=strict_only),
        ("X-Bare\rReturn: x",),
        ("X Space: x",),
        pytest.param(("X-Nul: a\x00b",), marks=strict_only),
        pytest.param((": nameless",), marks=strict_only),
        ("no colon at all",),
    ],
)
def test_H24_headers_that_are_none_are_refused(
    port: int, headers: tuple[str, ...]
) -> None:
    answer = request(port, *headers, method="GET", path=f"{PREFIX}/queue/overview")

    assert 400 <= answer.status < 500


@pytest.mark.parametrize(
    "headers",
    [
        ("Authorization: Bearer a", "Authorization: Bearer b"),
        ("Host: evil.test",),
        ("X-Request-Id: \xff\xfe",),
        ("X-Request-Id: a\x0b[31m",),
    ],
)
def test_H24_odd_headers_change_nothing(port: int, headers: tuple[str, ...]) -> None:
    answer = request(port, *headers, method="GET", path=f"{PREFIX}/queue/overview")

    assert answer.status in {200, 400, 401, 403}
    assert "\x1b" not in answer.headers.get("X-Request-Id", "")


def test_H24_a_request_id_cannot_split_the_answer(port: int) -> None:
    answer = request(
        port,
        "X-Request-Id: a\r\nSet-Cookie: x=1",
        method="GET",
        path=f"{PREFIX}/health",
    )

    assert answer.status == 200
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("length", [9_000, 100_000])
def test_H23_an_endless_url_is_refused(port: int, length: int) -> None:
    answer = request(port, method="GET", path=f"{PREFIX}/{'x' * length}")

    assert answer.status in {400, 404, 414}
    assert b"Traceback" not in answer.body
