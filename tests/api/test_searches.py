"""One expensive read at a time for each caller."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs.auth.limits import ExpensiveReads
from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.errors import RateLimitedError
from flask_forge_jobs.handlers.jobs import is_expensive
from flask_forge_jobs.model.jobs import JobFilter
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token
from tests.support.threads import run_together

LIMIT_S = 20.0
Send = Callable[[FlaskClient, str], TestResponse]


def _list(client: FlaskClient, text: str) -> TestResponse:
    wanted = {"filter": {"payload_search": text}, "limit": 1, "offset": 0}
    return client.post(f"{PREFIX}/jobs/list", json=wanted)


def _find(client: FlaskClient, text: str) -> TestResponse:
    return client.get(f"{PREFIX}/v1/jobs", query_string={"q": text})


def _find_error(client: FlaskClient, text: str) -> TestResponse:
    return client.get(f"{PREFIX}/v1/jobs", query_string={"error": text})


def _act(client: FlaskClient, text: str) -> TestResponse:
    wanted = {"action": "retry", "filter": {"error": text}, "dry_run": True}
    return client.post(f"{PREFIX}/v1/jobs/actions", json=wanted)


def _get(path: str) -> Send:
    return lambda client, _: client.get(PREFIX + path)


def _list_deep(client: FlaskClient, _: str) -> TestResponse:
    return client.post(f"{PREFIX}/jobs/list", json={"limit": 1, "offset": 5001})


SENDS: list[Send] = [_list, _find, _find_error, _act]
OTHERS: list[Send] = [
    _list_deep,
    _get("/v1/jobs?limit=201"),
    _get("/v1/jobs?sort=-priority"),
    _get("/v1/jobs?min_attempts=1"),
    _get("/v1/events?limit=201"),
    _get("/jobs/failed?limit=201"),
    _get("/jobs/scheduled?limit=1&offset=5001"),
]
PAIRS: list[tuple[Send, Send]] = [(_find, send) for send in (*SENDS, *OTHERS)]
PAIRS += [(send, _find) for send in (*SENDS[2:], *OTHERS)]


class _SlowSearch:
    """Holds every read of a storage up until it is let go."""

    def __init__(self, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
        self.has_begun = threading.Event()
        self.may_end = threading.Event()
        read = storage.database.read

        def slowly(work: Any, **options: Any) -> Any:
            self.has_begun.set()
            assert self.may_end.wait(LIMIT_S)
            return read(work, **options)

        monkeypatch.setattr(storage.database, "read", slowly)


def _let_readers_meet(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, readers: int
) -> None:
    """Make each read wait until so many are under way at the same time."""
    meeting = threading.Barrier(readers)
    have_met = threading.Event()
    read = storage.database.read

    def together(work: Any, **options: Any) -> Any:
        if not have_met.is_set():
            meeting.wait(LIMIT_S)
            have_met.set()
        return read(work, **options)

    monkeypatch.setattr(storage.database, "read", together)


def _client(storage: Storage) -> FlaskClient:
    return client_with_token(
        storage,
        "admin",
        authenticator=lambda request: Principal.with_role(
            request.headers["X-User"], "admin"
        ),
    )


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_sec_S30_second_expensive_read_of_a_caller_is_429_at_once(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, first: Send, second: Send
) -> None:
    client = client_with_token(storage, "admin")
    slow = _SlowSearch(storage, monkeypatch)

    with ThreadPoolExecutor(1) as pool:
        searching = pool.submit(first, client, "needle")
        assert slow.has_begun.wait(LIMIT_S)
        refused = second(client, "other")
        slow.may_end.set()
        assert searching.result(LIMIT_S).status_code == 200

    assert refused.status_code == 429
    assert refused.data == b'{"kind":"rate_limited","retry_after_secs":1}'
    assert second(client, "other").status_code == 200


@pytest.mark.parametrize("send", SENDS)
def test_sec_S30_others_and_other_reads_do_not_wait_for_it(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, send: Send
) -> None:
    client = _client(storage)
    del client.environ_base["HTTP_AUTHORIZATION"]
    client.environ_base["HTTP_X_FORGE_JOBS"] = "1"
    _let_readers_meet(storage, monkeypatch, 3)

    def as_user(name: str, send: Send) -> TestResponse:
        own = client.application.test_client()
        own.environ_base.update(client.environ_base, HTTP_X_USER=name)
        return send(own, "needle")

    answers = run_together(
        [
            partial(as_user, "ada", send),
            partial(as_user, "bob", send),
            partial(as_user, "ada", lambda own, _: own.get(f"{PREFIX}/v1/jobs?q=")),
        ]
    )

    assert [answer.status_code for answer in answers] == [200, 200, 200]


def test_a_read_that_fails_gives_its_place_back() -> None:
    reads = ExpensiveReads()

    for _ in range(2):
        with pytest.raises(ZeroDivisionError), reads.alone("ada"):
            raise ZeroDivisionError
    with (
        reads.alone("ada"),
        reads.alone("bob"),
        pytest.raises(RateLimitedError),
        reads.alone("ada"),
    ):
        raise AssertionError("let in twice")


@pytest.mark.parametrize(
    ("wanted", "page"),
    [
        (JobFilter(), {}),
        (JobFilter(kinds=("k",), dedupe_key="x"), {"limit": 200, "offset": 5000}),
        (JobFilter(error_search=" "), {"sort": "-completed_at"}),
    ],
)
def test_other_reads_are_not_expensive(wanted: JobFilter, page: dict[str, Any]) -> None:
    assert not is_expensive(wanted, **page)
