"""How to call each route of the reference as its client does."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.api.mounting import PREFIX
from tests.conformance.contract import Entry, entries
from tests.conformance.seeding import JOB_ID, QUEUE, SCHEDULE

UPSTREAM = entries("upstream")
BY_ID: Mapping[str, Entry] = {entry.id: entry for entry in UPSTREAM}


def path_of(entry: Entry) -> str:
    """Return the path with the names of the data set, and the client's query."""
    name = SCHEDULE if "/cron/" in entry.path else QUEUE
    path = entry.path.format(name=quote(name), id=JOB_ID)
    query = entry.client["query"] if entry.client else None
    return f"{PREFIX}{path}?{urlencode(query)}" if query else f"{PREFIX}{path}"


def call(client: FlaskClient, entry: Entry) -> TestResponse:
    """Send the exact bytes that the reference's client sends."""
    body = entry.client["body"] if entry.client else None
    return client.open(
        path_of(entry),
        method=entry.method,
        data=body,
        content_type="application/json" if body is not None else None,
    )
