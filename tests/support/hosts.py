"""Requests with a ``Host`` header that a test client may reject."""

from __future__ import annotations

from flask.testing import FlaskClient
from werkzeug.test import create_environ
from werkzeug.wrappers import Response


def answer_to(client: FlaskClient, path: str, host: str) -> Response:
    """Return the answer to a GET of a client's application.

    The client of Werkzeug 3.0 itself fails on a port that is no number.
    """
    environ = create_environ(path) | client.environ_base | {"HTTP_HOST": host}
    return Response.from_app(client.application, environ)
