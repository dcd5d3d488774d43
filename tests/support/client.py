"""A client that sends what it is told to, byte by byte when that is needed."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

HOST = "127.0.0.1"
PREFIX = "/forge-jobs"
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent.

    Args:
        method: The method.
        path: Below the mount point.
        body: The bytes; None sends no body.
        headers: All headers but ``Host`` and ``Content-Length``.
    """

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)

    @property
    def fault(self) -> tuple[str, str | None]:
        """Kind and field of a tagged error."""
        document = self.json()
        return document["kind"], document.get("field")


def post_json(path: str, document: object) -> Request:
    """Return an ordinary POST."""
    body = json.dumps(document).encode()
    return Request("POST", path, body, {"Content-Type": "application/json"})


def send(port: int, request: Request, prefix: str = PREFIX) -> Answer:
    """Send a request over a connection of its own.

    Raises:
        http.client.HTTPException: What came back is no complete answer.
        OSError: The connection was refused or cut.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S)
    try:
        connection.request(
            request.method, prefix + request.path, request.body, dict(request.headers)
        )
        return _read(connection.getresponse())
    finally:
        connection.close()


def send_chunked(port: int, request: Request, chunk_bytes: int = 65_536) -> Answer:
    """Send the body in chunks, without telling its length before."""
    body = request.body or b""
    head = [f"{request.method} {PREFIX}{request.path} HTTP/1.1", f"Host: {HOST}:{port}"]
    head += [f"{name}: {value}" for name, value in request.headers.items()]
    head += ["Transfer-Encoding: chunked", "Connection: close"]
    parts = ["\r\n".join(head).encode() + b"\r\n\r\n"]
    for start in range(0, len(body), chunk_bytes):
        chunk = body[start : start + chunk_bytes]
        parts.append(b"%x\r\n%b\r\n" % (len(chunk), chunk))
    return send_bytes(port, b"".join([*parts, b"0\r\n\r\n"]))


def send_bytes(port: int, data: bytes, *, ends: bool = False) -> Answer:
    """Send bytes as they are and read one answer.

    Args:
        port: The server's.
        data: What is sent.
        ends: Say that nothing more will come.
    """
    with socket.create_connection((HOST, port), timeout=TIMEOUT_S) as connection:
        # A server may answer and close before it has read everything.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
            if ends:
                connection.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return _read(response)


def _read(response: http.client.HTTPResponse) -> Answer:
    body = response.read()
    return Answer(response.status, dict(response.headers.items()), body)
