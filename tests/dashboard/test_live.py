"""Pages as event streams: what changes, who may read it, and every end."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask import Flask, Response, request
from flask.testing import FlaskClient
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import TestResponse

from flask_forge_jobs.api.streams import STOPPING
from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.dashboard.live import LIFETIME_S, Answer, event, events
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.dashboard.sites import with_page
from tests.support.clocks import MovingClock

TEMPLATE = """{% extends "forge_jobs/base.html" %}
{% block main %}
{% block one %}<p id="one">{{ one }}</p>{% endblock %}
{% block two %}<p id="two">{{ two() }}</p>{% endblock %}
{% endblock %}"""
FAILED = "event: error\ndata: \n\n"
ALIVE = "data:  \n\n"


@dataclass
class Server:
    """Stands for a server that a stream asks whether it stops: at the end of ``acts``.

    Each act takes place between two answers.
    """

    acts: list[Callable[[], object]]
    waits: list[float] = field(default_factory=list)

    def wait(self, seconds: float) -> bool:
        """Let the next act take place."""
        self.waits.append(seconds)
        if not self.acts:
            return True
        self.acts.pop(0)()
        return False


def streamed(
    client: FlaskClient,
    *acts: Callable[[], object],
    query: str = "only=one,two",
    environ: Mapping[str, Any] | None = None,
) -> TestResponse:
    """Open the page as a stream, in a server with threads."""
    server = Server([*acts])
    overrides = {"wsgi.multithread": True, STOPPING: server, **(environ or {})}
    return client.get(
        f"{PREFIX}/try?{query}",
        headers={"Accept": "text/event-stream"},
        environ_overrides=overrides,
    )


# -- the events ------------------------------------------------------------------------


def test_a_text_cannot_end_its_event() -> None:
    assert event("a\rdata: b\r\n\nevent: error\n") == (
        b"data: a\ndata: data: b\ndata: \ndata: event: error\ndata: \n\n"
    )
    assert event("").decode() == ALIVE


def test_only_blocks_that_changed_are_sent() -> None:
    answers = iter(
        [Answer(200, "1", ["a", "b"]), Answer(200, "1", ["a", "b"]),
         Answer(200, "2", ["a", "c"]), Answer(503, None, [])]
    )  # fmt: skip

    def made(tag: str) -> list[str]:
        ask = lambda: next(answers)  # noqa: E731
        clock = MovingClock()
        stream = events(ask, lambda _: False, clock, pace_s=1, tag=tag)
        return [each.decode() for each in stream]

    # The script has the first answer already.
    assert made("1") == [ALIVE, ALIVE, "data: c\n\n", FAILED]
    answers = iter([Answer(200, "1", ["a", "b"]), Answer(500, None, [])])
    assert made("0") == ["data: ab\n\n", FAILED]


def test_a_stream_has_a_short_life() -> None:
    clock = MovingClock()
    began = clock.monotonic()

    def wait(seconds: float) -> bool:
        clock.move(seconds)
        return clock.monotonic() - began > 2 * LIFETIME_S

    ask = lambda: Answer(200, "1", [])  # noqa: E731
    made = list(events(ask, wait, clock, pace_s=2, tag="1"))

    assert len(made) == LIFETIME_S / 2 + 1


# -- through an application -----------------------------------------------------------


@pytest.fixture
def state() -> dict[str, Any]:
    """What the page shows."""
    return {"one": "<1>", "two": "2"}


def page_of(
    monkeypatch: pytest.MonkeyPatch, state: dict[str, Any], **more: Any
) -> FlaskClient:
    def shown(_api: object) -> Mapping[str, object]:
        def two() -> str:
            if isinstance(state["two"], Exception):
                raise state["two"]
            return str(state["two"])

        return {"one": state["one"], "two": two}

    more = {"options": {"dashboard_streams": 1}, **more}
    return with_page(monkeypatch, TEMPLATE, shown, blocks=("one", "two"), **more)


def test_a_page_is_sent_as_it_changes(
    monkeypatch: pytest.MonkeyPatch, state: dict[str, Any]
) -> None:
    client = page_of(monkeypatch, state)

    answer = streamed(client, lambda: None, lambda: state.update(two="<!--/-->"))

    assert answer.content_type == "text/event-stream; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert "ETag" not in answer.headers
    first, same, changed, end = answer.text.split("\n\n")
    assert first == 'data: <p id="one">&lt;1&gt;</p><p id="two">2</p>'
    assert same == "data:  "
    assert changed == 'data: <p id="two">&lt;!--/--&gt;</p>'
    assert end == ""


def test_a_stream_knows_what_a_poll_has_answered(
    monkeypatch: pytest.MonkeyPatch, state: dict[str, Any]
) -> None:
    client = page_of(monkeypatch, state)
    poll = client.get(f"{PREFIX}/try?only=one,two", headers={"Accept": "text/html"})

    answer = streamed(client, query=f"only=one,two&stream=1&tag={poll.headers['ETag']}")

    assert answer.text == ALIVE


@pytest.mark.parametrize(
    ("asked", "pace_s"), [("2", 2), ("0", 1), ("x", 5), ("99", 10)]
)
def test_the_pace_has_bounds(
    monkeypatch: pytest.MonkeyPatch, state: dict[str, Any], asked: str, pace_s: int
) -> None:
    server = Server([])

    answer = streamed(
        page_of(monkeypatch, state), query=f"only=one&stream={asked}",
        environ={STOPPING: server},
    )  # fmt: skip

    assert answer.text
    assert server.waits == [pace_s]


def test_a_caller_who_is_let_in_no_more_reads_no_more(
    monkeypatch: pytest.MonkeyPatch, state: dict[str, Any]
) -> None:
    known: list[Principal | None] = [Principal.with_role("ann", "viewer")]
    client = page_of(
        monkeypatch, state,
        options={"dashboard_streams": 1, "authenticator": lambda _: known[-1]},
    )  # fmt: skip

    answer = streamed(client, lambda: known.append(None), lambda: None)

    assert answer.text.endswith(FAILED)
    assert answer.text.count("\n\n") == 2
    assert streamed(client).status_code == 401


def test_a_stranger_on_an_open_page_gets_the_page(
    monkeypatch: pytest.MonkeyPatch, state: dict[str, Any]
) -> None:
    client = page_of(monkeypatch, state, permission=None)

    assert streamed(client).content_type.startswith("text/html")


def test_a_fault_ends_the_stream_and_is_an_event(
    monkeypatch: pytest.MonkeyPatch, state: dict[str, Any]
) -> None:
    client = page_of(monkeypatch, state)

    answer = streamed(client, lambda: state.update(two=RuntimeError("broken")))

    assert answer.text.endswith(f"\n\n{FAILED}")


def test_a_fault_of_the_application_ends_it_too(
    monkeypatch: pytest.MonkeyPatch, state: dict[str, Any]
) -> None:
    app = Flask("host")
    client = page_of(monkeypatch, state, app=app)

    def break_hooks() -> None:
        app.testing = True
        app.before_request_funcs[None].insert(0, lambda: 1 / 0)  # type: ignore[arg-type]

    answer = streamed(client, break_hooks)

    assert answer.text.endswith(f"\n\n{FAILED}")


def test_an_application_that_compresses_its_answers_has_streams(
    monkeypatch: pytest.MonkeyPatch, state: dict[str, Any]
) -> None:
    app = Flask("host")

    @app.after_request
    def compress(response: Response) -> Response:  # as Flask-Compress
        if "gzip" in request.headers["Accept-Encoding"] and not response.is_streamed:
            response.set_data(gzip.compress(response.get_data()))
            response.headers["Content-Encoding"] = "gzip"
        return response

    client = page_of(monkeypatch, state, app=app)

    answer = streamed(client, environ={"HTTP_ACCEPT_ENCODING": "gzip, br"})

    assert answer.text == 'data: <p id="one">&lt;1&gt;</p><p id="two">2</p>\n\n'


@pytest.mark.parametrize(
    ("options", "threads"),
    [({"dashboard_streams": 0}, True), ({"dashboard_streams": 9}, False), ({}, True)],
)
def test_without_a_thread_to_spare_there_is_no_event(
    monkeypatch: pytest.MonkeyPatch,
    state: dict[str, Any],
    options: dict[str, Any],
    threads: bool,
) -> None:
    client = page_of(monkeypatch, state, options=options)
    environ = {"wsgi.multithread": threads}
    page = client.get(
        f"{PREFIX}/try", headers={"Accept": "text/html"}, environ_overrides=environ
    )

    assert streamed(client, environ=environ).text == ""
    assert "data-stream" not in page.text


def test_a_page_offers_the_stream_and_the_next_one_polls(
    monkeypatch: pytest.MonkeyPatch, state: dict[str, Any], storage: Storage
) -> None:
    client = page_of(monkeypatch, state, storage=storage)
    environ = {"wsgi.multithread": True}
    page = client.get(
        f"{PREFIX}/try", headers={"Accept": "text/html"}, environ_overrides=environ
    )
    seen: list[str] = []

    answer = streamed(client, lambda: seen.append(streamed(client).text))

    assert page.status_code == 200
    assert "data-stream" in page.text
    assert answer.text
    assert seen == [""]
    # Nothing is held once it has ended.
    assert streamed(client).text


def test_middleware_changes_a_request_once(
    monkeypatch: pytest.MonkeyPatch, state: dict[str, Any]
) -> None:
    app = Flask("host")
    client = page_of(monkeypatch, state, app=app)
    passed: list[str] = []
    inner = ProxyFix(app.wsgi_app, x_prefix=1)

    def counting(environ: Any, start_response: Any) -> Iterator[bytes]:
        passed.append(environ["PATH_INFO"])
        return inner(environ, start_response)  # type: ignore[return-value]

    app.wsgi_app = counting  # type: ignore[method-assign]

    assert streamed(client, lambda: None).text.endswith(ALIVE)
    assert len(passed) == 1


def test_a_path_shared_with_the_api_has_its_stream(storage: Storage) -> None:
    from tests.api.mounting import mount_shared

    answer = mount_shared(storage).get(
        f"{PREFIX}/cron", headers={"Accept": "text/event-stream"}
    )

    assert answer.content_type == "text/event-stream; charset=utf-8"
