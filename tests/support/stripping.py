"""A reverse proxy that strips a prefix; many do not say so."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from http.client import HTTPConnection
from wsgiref.types import StartResponse, WSGIEnvironment

from werkzeug.datastructures import EnvironHeaders

from tests.support.wsgi import served

LIMIT_S = 60.0
# Of one connection, which the proxy ends itself.
_OF_A_HOP = {"connection", "transfer-encoding", "keep-alive"}


@contextlib.contextmanager
def stripping(prefix: str, port: int, *, says_so: bool = False) -> Iterator[int]:
    """Pass requests below a prefix on to a port of loopback; yield the proxy's port.

    The host stays the one that the client named.

    Args:
        prefix: What it strips.
        port: Where it passes requests on to.
        says_so: Tell the prefix, the client's address and the host in X-Forwarded-*.
    """

    def pass_on(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        address: str = environ["REQUEST_URI"]
        if not address.startswith(f"{prefix}/"):
            start("404 Not Found", [])
            return []
        said = {
            "X-Forwarded-For": environ["REMOTE_ADDR"],
            "X-Forwarded-Proto": environ["wsgi.url_scheme"],
            "X-Forwarded-Host": environ["HTTP_HOST"],
            "X-Forwarded-Prefix": prefix,
        }
        length = int(environ.get("CONTENT_LENGTH") or 0)
        headers = {
            name: value
            for name, value in EnvironHeaders(environ)
            if name.lower() not in _OF_A_HOP
        }
        if says_so:
            headers |= said
        server = HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
        with contextlib.closing(server):
            server.request(
                environ["REQUEST_METHOD"],
                address.removeprefix(prefix),
                environ["wsgi.input"].read(length),
                headers,
            )
            answer = server.getresponse()
            body = answer.read()
        kept = [
            each for each in answer.getheaders() if each[0].lower() not in _OF_A_HOP
        ]
        start(f"{answer.status} {answer.reason}", kept)
        return [body]

    with served(pass_on) as own_port:
        yield own_port
