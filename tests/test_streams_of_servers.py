"""Event streams of real servers: how many, how soon they end, and what stays free."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.dashboard.browser.test_deployed import APPLICATION
from tests.support.databases import sqlite_url
from tests.support.programs import gunicorn
from tests.test_server import call, server, variables

STREAM = "/?only=state&stream=1"
EVENTS = {"Accept": "text/event-stream"}
HEALTHY_S = 0.5
STOPS_S = 10.0
CROWD = 100


@contextlib.contextmanager
def stream(url: str) -> Iterator[Iterator[bytes]]:
    """Open a stream and yield its lines."""
    parts = urlsplit(url)
    connection = HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", f"{parts.path}{STREAM}", headers=EVENTS)
        answer = connection.getresponse()
        with answer:
            assert answer.status == 200
            yield iter(answer.readline, b"")


def until(lines: Iterator[bytes], text: bytes) -> None:
    assert any(text in line for line in lines)


def test_a_crowd_of_panels_leaves_the_api_free_and_ends_with_the_server(
    tmp_path: Path,
) -> None:
    environ = variables(tmp_path) | {"JOBS_API_THREADS": "4"}
    with server(environ, tmp_path, "--open") as (program, url), stream(url) as lines:
        until(lines, b"<b>0</b> waiting")
        # One of four threads is for streams: further callers get none.
        for _ in range(CROWD):
            with stream(url) as refused:
                assert list(refused) == []
        before = time.monotonic()
        assert call(f"{url}/health")[0] == 200
        assert time.monotonic() - before < HEALTHY_S

        assert call(f"{url}/jobs/enqueue", {"kind": "x", "payload": {}})[0] == 200
        until(lines, b"<b>1</b> waiting")

        before = time.monotonic()
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
        assert time.monotonic() - before < STOPS_S


def test_a_proxy_of_http_1_0_gets_events_as_they_come(tmp_path: Path) -> None:
    with server(variables(tmp_path), tmp_path, "--open") as (_, url):
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port), 30) as client:
            head = f"GET {STREAM} HTTP/1.0\r\nHost: {parts.netloc}\r\n"
            client.sendall(f"{head}Accept: text/event-stream\r\n\r\n".encode())
            with client.makefile("rb") as answer:
                begun = b"".join(iter(answer.readline, b"\r\n")).lower()
                assert b"transfer-encoding" not in begun
                assert answer.readline().startswith(b"data: <ul")


@pytest.mark.long
@pytest.mark.parametrize(
    ("options", "streams"), [(["--threads=4"], True), (["-ksync"], False)]
)
def test_an_application_has_streams_if_it_says_so_and_has_threads(
    tmp_path: Path, options: list[str], streams: bool
) -> None:
    application = tmp_path / "deployed.py"
    application.write_text(APPLICATION, "utf-8")
    url = sqlite_url(tmp_path / "queue.sqlite")
    setting = {"FLASK_FORGE_JOBS_DASHBOARD_STREAMS": "1"}
    with gunicorn(application, url, tmp_path, *options, **setting) as program:
        address = f"http://127.0.0.1:{program.port()}/forge-jobs"
        asked = urllib.request.Request(f"{address}/", headers={"Accept": "text/html"})
        with urllib.request.urlopen(asked, timeout=30) as page:
            assert (b"data-stream" in page.read()) is streams
        with stream(address) as lines:
            if streams:
                until(lines, b"waiting")
            else:
                assert list(lines) == []
