"""Rows of the security checklist that no single module answers for."""

from __future__ import annotations

import ast
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

import flask_forge_jobs
from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.model.jobs import JobFilter, NewJob
from flask_forge_jobs.model.outcomes import Failed
from flask_forge_jobs.storage.base import Storage
from tests.api.faulty import faulty_storage
from tests.api.mounting import PREFIX, mount
from tests.api.tokens import client_with_token
from tests.support.jobs import run

PACKAGE = Path(flask_forge_jobs.__file__).parent
INJECTIONS = [
    "'", '"', "''", "' OR '1'='1", "' OR 1=1 --", '" OR ""="', "'; DROP TABLE x; --",
    "1; DELETE FROM forge_job", "') OR ('a'='a", "' UNION SELECT NULL --",
    "'||(SELECT version())||'", "\\' OR 1=1 --", "%27%20OR%201=1", "admin'--", "/*",
    "*/ OR 1=1", ":name", "%(name)s", "%s", "?", "$1", "{0}", "0x27", "`id`", "[id]",
    "\uff07 OR 1=1", "';SELECT pg_sleep(5)--", "1 AND SLEEP(5)", "${jndi:x}", "$(id)",
]  # fmt: skip


@pytest.fixture
def client(storage: Storage) -> FlaskClient:
    return client_with_token(storage, "admin")


def _trees(holding: str = "") -> Iterator[tuple[Path, ast.AST]]:
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text("utf-8")
        if holding in text:
            yield path, ast.parse(text)


# -- S24, S25 ----------------------------------------------------------------------

# Names of databases, tables, pragmas, savepoints and channels cannot be parameters;
# they are checked or constants.
BUILT_STATEMENTS = {
    "storage/administration",
    "storage/postgres/join",
    "storage/postgres/listener",
    "storage/postgres/prepared",
    "storage/postgres/transaction",
    "storage/sqlite/checkpoint",
    "storage/sqlite/connection",
    "storage/sqlite/database",
    "storage/sqlite/join",
    "storage/sqlite/process",
    "storage/sqlite/shared_file",
    "storage/sqlite/side",
}


def test_sec_S24_no_statement_is_put_together_from_text() -> None:
    offenders = set()
    for path, tree in _trees(holding=".execute"):
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in {"execute", "executemany", "executescript"}
                and node.args
                and isinstance(node.args[0], ast.JoinedStr | ast.BinOp)
            ):
                place = path.relative_to(PACKAGE).with_suffix("")
                offenders.add(place.as_posix())

    assert offenders <= BUILT_STATEMENTS


@pytest.mark.parametrize("text", INJECTIONS)
def test_sec_S24_injected_text_is_text(
    client: FlaskClient, storage: Storage, text: str
) -> None:
    """H14: it finds and changes what an unknown word would."""
    storage.jobs.enqueue(NewJob("k"))
    search = {"payload_search": text} if len(text) > 1 else {}

    listed = client.post(
        f"{PREFIX}/jobs/list",
        json={"filter": {"kinds": [text], **search}, "limit": 9, "offset": 0},
    )
    others = [
        client.get(f"{PREFIX}/jobs/inspect/{text.replace('/', '').replace('?', '')}x"),
        client.get(f"{PREFIX}/jobs/kinds", query_string={"queue_name": text}),
        client.post(f"{PREFIX}/jobs/delete", json={"ids": [text]}),
        client.get(f"{PREFIX}/v1/audit", query_string={"actor": text}),
        client.get(f"{PREFIX}/v1/jobs", query_string={"dedupe_key": text}),
        client.get(f"{PREFIX}/v1/jobs", query_string={"sort": text}),
    ]

    assert (listed.status_code, listed.get_json()["total"]) == (200, 0)
    assert [answer.status_code for answer in others] == [404, 200, 200, 200, 200, 400]
    assert not any("syntax" in answer.text for answer in (listed, *others))
    assert storage.job_reader.page(JobFilter(), 9).total == 1


@pytest.mark.parametrize("special", ["%%", "__", "\\\\", "[a]", "%a%", "a_c", "*?"])
def test_sec_S25_search_is_literal(
    client: FlaskClient, storage: Storage, special: str
) -> None:
    storage.jobs.enqueue(NewJob("k", json.dumps({"text": "abc"})))
    wanted = storage.jobs.enqueue(NewJob("k", json.dumps({"text": special}))).id

    rows = client.post(
        f"{PREFIX}/jobs/list",
        json={
            "filter": {"payload_search": json.dumps(special)[1:-1]},
            "limit": 9,
            "offset": 0,
        },
    ).get_json()["rows"]

    assert [row["id"] for row in rows] == [wanted]


# -- S26 ---------------------------------------------------------------------------


@pytest.mark.parametrize(("extra", "status"), [(0, 200), (1, 413)])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_sec_S26_body_limit_is_exact_for_chunks_too(
    storage: Storage, extra: int, status: int, is_chunked: bool
) -> None:
    """One limit for all routes; chunked bodies are taken, unlike in S26."""
    client = client_with_token(storage, "admin", max_body_bytes=1024)
    body = b'{"ids":[]}'.ljust(1024 + extra)
    environ = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}

    answer = client.post(
        f"{PREFIX}/jobs/retry",
        input_stream=io.BytesIO(body) if is_chunked else None,
        data=None if is_chunked else body,
        content_type="application/json",
        environ_overrides=environ if is_chunked else {},
    )

    assert answer.status_code == status


# -- S33 ---------------------------------------------------------------------------


def test_sec_S33_nothing_in_the_package_runs_stored_text() -> None:
    """No pickle, no eval, no import by a name that comes from data."""
    modules = {"pickle", "marshal", "shelve", "dill", "yaml", "jsonpickle"}
    calls = {"eval", "exec", "compile", "__import__", "import_module", "import_string"}
    found = set()
    for path, tree in _trees():
        for node in ast.walk(tree):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                names = [node.func.id] if node.func.id in calls else []
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                is_regex = ast.unparse(node.func).startswith("re.")
                hit = node.func.attr in calls - {"compile"} and not is_regex
                names = [node.func.attr] if hit else []
            found |= {(path.name, name) for name in names if name in modules | calls}

    # By the names of the files in dashboard/pages, that of the demo, and those in the
    # table of commands and that of the public names.
    modules_by_name = {"table.py", "server.py", "group.py", "__init__.py"}
    assert found == {(name, "import_module") for name in modules_by_name}


# -- H35 ---------------------------------------------------------------------------

HOSTILE = [
    "<script>alert(1)</script>", "</script><svg onload=alert(1)>", '"><img src=x>',
    "\u2028\u2029", "\x1b[31mred", "a\r\nX-Evil: 1", "javascript:alert(1)",
    "{{7*7}}", "%3Cscript%3E",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_sec_H35_hostile_text_comes_back_as_json_and_nothing_else(
    storage: Storage, client: FlaskClient, text: str
) -> None:
    kind = re.sub(r"[\x00-\x1f\u2028\u2029]", "", text) or "k"
    job = storage.jobs.enqueue(NewJob(kind, json.dumps({text: text})))
    run(storage, Failed(text), queue_name="default")

    for path in (f"/jobs/inspect/{job.id}", f"/v1/jobs/{job.id}", "/jobs/failed"):
        answer = client.get(PREFIX + path)
        assert answer.content_type == "application/json"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "X-Evil" not in answer.headers
        row = json.loads(answer.data)
        row = row[0] if isinstance(row, list) else row["row"]
        assert (row["kind"], row["last_error"]) == (kind, text)


# -- S39, S41 ----------------------------------------------------------------------

INTERNALS = re.compile(r"SELECT|Traceback|/srv|line \d|psycopg2|sqlite3|flask_forge")


@pytest.mark.parametrize(
    "error",
    [
        StorageUnavailableError("/srv/queue.sqlite: SELECT failed in sqlite3"),
        RuntimeError("Traceback: /srv/app.py, line 3"),
        KeyError("psycopg2"),
    ],
)
def test_sec_S39_answers_name_no_internals(error: Exception) -> None:
    client = mount(faulty_storage(error))

    for method, path, body in (
        ("GET", "/queue/overview", None),
        ("GET", "/jobs/inspect/x", None),
        ("GET", "/metrics", None),
        ("POST", "/jobs/list", {"limit": 1, "offset": 0}),
        ("POST", "/jobs/enqueue", {"kind": "k", "payload": {}}),
    ):
        answer = client.open(PREFIX + path, method=method, json=body)
        assert answer.status_code in {500, 503}
        assert not INTERNALS.search(answer.text)


def test_sec_S41_text_from_outside_stays_within_one_line(
    storage: Storage, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    evil = "x\nINFO fake\r\x1b[31m\u2028\u202e"
    client.environ_base["HTTP_AUTHORIZATION"] = "Bearer wrong"

    client.post(
        f"{PREFIX}/jobs/delete", query_string={evil: evil}, json={"ids": [evil]}
    )
    client.post(f"{PREFIX}/queue/{evil.replace('/', '')}/paused", json={"paused": True})

    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    for message in messages:
        assert len(message.splitlines()) == 1
        assert "\x1b" not in message
        assert len(message) < 4096
    assert storage.queues.all() == []


# -- S42 ---------------------------------------------------------------------------


def test_sec_S42_nobody_s_name_in_the_trail_is_a_token(client: FlaskClient) -> None:
    client.post(f"{PREFIX}/jobs/retry", json={"ids": []})

    token = client.environ_base["HTTP_AUTHORIZATION"].removeprefix("Bearer ")
    assert token not in client.get(f"{PREFIX}/v1/audit").text
