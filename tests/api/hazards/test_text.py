"""H13 to H17: text that means something elsewhere, and names."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs.api.addresses import PLACEHOLDER
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.storage.base import Storage
from tests.api.hazards.inputs import ROUTES, Key, fault, keys, label, lines, parameters
from tests.api.mounting import PREFIX
from tests.conformance.requests import sample
from tests.support.backends import each_backend, sqlite_first
from tests.support.sql import Sql

SEARCHED = (
    "100%", "a_b", "back\\slash", "[x]", 'quo"te', "it's", "--", "/*", "(a+)+$", ".*",
    "\u202eabc", "% OR", "??", "\\%", "''",
)  # fmt: skip
SQL_TEXTS = lines("sql_injection.txt")
# Each place is sent some of them, and each of them goes to many places.
SHARES = 8
# What a database says, and a client must never read.
SQL_WORDS = ("syntax error", "sqlite", "psycopg", "select ", "unterminated", "operator")
STRING_KEYS = [key for key in keys() if key.takes("xx")]
STRING_PARAMETERS = [*parameters("string")]
PATHS = [route for route in ROUTES if "<" in route.path]
NO_IDS = (
    "0", "x", "01K5A4D3E4F5G6H7J8K9M0N1P", "01K5A4D3E4F5G6H7J8K9M0N1P22",
    "01k5a4d3e4f5g6h7j8k9m0n1p2", "ILOUILOUILOUILOUILOUILOUIL",
    "8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
    "%2e%2e", "%00", "%0a", "%EF%BC%91", "%D9%A3", "%F0%9F%92%A5", "a" * 8192, "null",
    "-1", "1e3", "__proto__",
)  # fmt: skip
GOOD_NAMES = (
    "a", "x" * 128, "é", "💥", "a.b", "a:b", "a-b_c", "a b", "__proto__",
    "constructor", "null", "<b>", '"', "'", "\\", "{}", "a&b", "a=b", "a;b", "ﬀ",
)  # fmt: skip
BAD_NAMES = (
    "", " ", " a", "a ", "x" * 129, "a/b", "a?b", "a#b", "a%b", "a,b", "a\nb", "a\r\nb",
    "a\x00b", "a\x7fb", "a\x85b", "\u2028", "\u3000",
    "..", ".", "pay\u200bments", "\u202ednim",
)  # fmt: skip


def rows(sql: Sql) -> list[object]:
    """Return what no read and no refused write may change."""
    return [
        sql.run("SELECT id, status, payload FROM forge_job ORDER BY id"),
        sql.run("SELECT name, paused, max_workers FROM forge_queue ORDER BY name"),
    ]


def share(number: int) -> list[str]:
    """Return the texts that the place of a number is sent."""
    return SQL_TEXTS[number % SHARES :: SHARES]


def assert_harmless(answer: TestResponse, text: str) -> None:
    """Check that a database had nothing to say about a text."""
    assert answer.status_code < 500, text
    # A message may quote the text itself.
    words = [word for word in SQL_WORDS if word not in text.lower()]
    assert [word for word in words if word in answer.text.lower()] == [], text


@each_backend
@pytest.mark.parametrize("text", SEARCHED)
def test_H13_a_search_is_literal(client: FlaskClient, text: str) -> None:
    for payload in ({"note": f"<{text}>"}, {"note": "something else"}):
        client.post(f"{PREFIX}/jobs/enqueue", json={"kind": "k", "payload": payload})

    wanted = {"filter": {"payload_search": text, "kinds": ["k"]}}
    answer = client.post(f"{PREFIX}/jobs/list", json=wanted | {"limit": 9, "offset": 0})

    assert answer.status_code == 200
    assert answer.json is not None
    # What is searched is the text that is shown: JSON with few escapes.
    shown = json.dumps({"note": f"<{text}>"}, ensure_ascii=False)
    assert answer.json["total"] == (1 if text in shown else 0)


@sqlite_first
def test_H13_a_search_has_a_length(client: FlaskClient) -> None:
    for text in ("x", "x" * 257, "x" * 1_000_000):
        wanted = {"filter": {"payload_search": text}, "limit": 1, "offset": 0}
        answer = client.post(f"{PREFIX}/jobs/list", json=wanted)
        assert fault(answer) == (400, "validation", "filter.payload_search")


@sqlite_first
@pytest.mark.parametrize("key", STRING_KEYS, ids=label)
def test_H14_sql_in_a_body_is_text(client: FlaskClient, key: Key) -> None:
    for text in share(STRING_KEYS.index(key)):
        answer = client.open(
            f"{PREFIX}{sample(key.route).path}",
            method=key.route.method,
            json=key.body(text),
        )
        assert_harmless(answer, text)
    assert client.get(f"{PREFIX}/queue/overview").status_code == 200


@sqlite_first
@pytest.mark.parametrize(("route", "name"), STRING_PARAMETERS, ids=label)
def test_H14_sql_in_a_query_is_text(
    client: FlaskClient, sql: Sql, route: Route, name: str
) -> None:
    request = sample(route)
    before = rows(sql)
    for text in share(STRING_PARAMETERS.index((route, name))):
        answer = client.open(
            f"{PREFIX}{request.path}",
            method="GET" if request.method == "GET" else "HEAD",
            query_string={**request.query, name: text},
        )
        assert_harmless(answer, text)
    assert rows(sql) == before


@sqlite_first
@pytest.mark.parametrize("route", PATHS, ids=label)
def test_H14_sql_in_a_path_is_a_name_that_nothing_has(
    client: FlaskClient, sql: Sql, route: Route
) -> None:
    template = PLACEHOLDER.sub("{}", route.path)
    request = sample(route)
    before = rows(sql)
    for text in share(PATHS.index(route)):
        answer = client.open(
            PREFIX + template.format(quote(text, safe="")),
            method=request.method,
            query_string=request.query,
            json=request.body,
        )
        # Nothing has such a name, but what a request makes may be given it.
        made = {route.status} if route.method == "PUT" else set()
        assert answer.status_code in {400, 404, 405} | made, text
        assert_harmless(answer, text)
    assert rows(sql) == before


@each_backend
def test_H14_sql_in_a_header_is_text(client: FlaskClient, sql: Sql) -> None:
    before = rows(sql)
    for text in SQL_TEXTS:
        latin = text.encode("utf-8").decode("latin-1")
        for name in ("X-Request-Id", "If-None-Match", "If-Match", "Origin", "Referer"):
            answer = client.get(f"{PREFIX}/queue/overview", headers={name: latin})
            # Without a credential no page of another origin reads.
            expected = {403} if name == "Origin" else {200, 400, 412}
            assert answer.status_code in expected, (name, text)
    assert rows(sql) == before


def job_paths() -> Iterator[str]:
    for route in ROUTES:
        if "job_id>" in route.path and route.method == "GET":
            yield PLACEHOLDER.sub("{}", route.path)


@pytest.mark.parametrize("job_id", NO_IDS)
def test_H15_what_is_no_id_is_no_job(client: FlaskClient, job_id: str) -> None:
    for path in job_paths():
        answer = client.get(PREFIX + path.format(job_id))
        assert fault(answer)[:2] == (404, "not_found")
    assert fault(client.post(f"{PREFIX}/jobs/run-now/{job_id}", json={}))[0] == 404


@each_backend
@pytest.mark.parametrize("name", GOOD_NAMES)
def test_H16_a_name_comes_back_as_it_was(client: FlaskClient, name: str) -> None:
    job = {
        "kind": name,
        "payload": {name: name},
        "queue_name": name,
        "dedupe_key": name,
    }
    answer = client.post(f"{PREFIX}/jobs/enqueue", json=job)
    assert answer.status_code == 200, answer.text
    detail = client.get(f"{PREFIX}/jobs/inspect/{answer.json}").json
    assert detail is not None

    assert detail["payload"] == {name: name}
    for key in ("kind", "queue_name", "dedupe_key"):
        assert detail["row"][key] == name
    paused = client.post(f"{PREFIX}/queue/{quote(name)}/paused", json={"paused": True})
    assert paused.status_code == 200
    listed = client.get(f"{PREFIX}/queue/overview").json
    assert name in [queue["name"] for queue in listed or ()]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_H16_a_bad_name_is_refused(client: FlaskClient, name: str) -> None:
    job = {"kind": "k", "payload": {}, "queue_name": name}

    status, kind, field = fault(client.post(f"{PREFIX}/jobs/enqueue", json=job))

    assert (status, kind) == (400, "validation")
    assert field in {"queue_name", "json"}


@each_backend
def test_H16_of_two_spellings_of_one_letter_one_is_a_queue(client: FlaskClient) -> None:
    spellings = [unicodedata.normalize(form, "é") for form in ("NFC", "NFD")]
    statuses = [
        client.post(
            f"{PREFIX}/jobs/enqueue",
            json={"kind": "k", "payload": {}, "queue_name": spelling},
        ).status_code
        for spelling in spellings
    ]

    assert statuses == [200, 400]


def test_H17_an_unknown_kind_is_kept_and_tells_nothing(
    client: FlaskClient, storage: Storage
) -> None:
    """Raw kinds stay possible (design, section 2): a worker elsewhere may know it."""
    answer = client.post(
        f"{PREFIX}/jobs/enqueue", json={"kind": "os.system", "payload": {}}
    )

    assert answer.status_code == 200
    assert answer.json is not None
    assert storage.job_reader.get(answer.json).kind == "os.system"
    assert "send_receipt" not in answer.text
