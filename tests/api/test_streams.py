"""Places for event streams: never without threads, and a few at a time."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from flask_forge_jobs.api.streams import CAPACITY, DEVELOPMENT_LIMIT, Streams


def environ(software: str = "gunicorn/25", *, threads: bool = True) -> dict[str, Any]:
    return {"wsgi.multithread": threads, "SERVER_SOFTWARE": software}


@pytest.mark.parametrize(
    ("limit", "asked", "allowed"),
    [
        (None, environ(), 0),
        (3, environ(), 3),
        (3, environ(threads=False), 0),
        (None, environ("Werkzeug/3.1"), DEVELOPMENT_LIMIT),
        (None, environ("Werkzeug/3.1", threads=False), 0),
        (0, environ("Werkzeug/3.1"), 0),
        (None, environ() | {CAPACITY: 2}, 2),
        (1, environ() | {CAPACITY: 2}, 1),
    ],
)
def test_the_limit_is_the_setting_or_that_of_a_known_server(
    limit: int | None, asked: dict[str, Any], allowed: int
) -> None:
    assert Streams(limit).limit(asked) == allowed


def test_a_place_is_free_again_however_its_stream_ends() -> None:
    streams = Streams(2)

    with streams.place(environ()) as first, streams.place(environ()) as second:
        with streams.place(environ()) as third:
            assert (first, second, third) == (True, True, False)
        with streams.place(environ()) as fourth:
            assert not fourth
    with contextlib.suppress(OSError), streams.place(environ()):
        raise BrokenPipeError
    with streams.place(environ()) as one, streams.place(environ()) as other:
        assert one
        assert other
