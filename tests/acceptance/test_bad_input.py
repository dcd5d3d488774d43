"""Bad input over HTTP and in Python, on both backends at once: the same answers.

Each case goes to two real servers, one a backend, and the two answers are compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass

import pytest
from flask import Flask

from flask_forge_jobs import ForgeJobs, InvalidInputError
from flask_forge_jobs.config.database import DatabaseSettings
from tests.acceptance import gate
from tests.acceptance.bad_input import CASES, JSON, Case
from tests.acceptance.serving import serving
from tests.support.backends import BACKENDS, long
from tests.support.client import Answer, Request, post_json, send
from tests.support.databases import sqlite_url
from tests.support.postgres import fresh_database
from tests.support.sql import Sql

_ID = re.compile(rb"[0-9A-HJKMNP-TV-Z]{26}")


@dataclass(frozen=True, slots=True)
class Target:
    """A real server over one backend."""

    backend: str
    url: str
    port: int
    sql: Sql

    def state(self) -> list[object]:
        """Return what a refused request must leave as it is."""
        return [
            self.sql.run("SELECT COUNT(*), MAX(id) FROM forge_job"),
            self.sql.run(
                "SELECT name, paused, max_workers, backoff_enabled, "
                "backoff_base_seconds, backoff_max_seconds FROM forge_queue "
                "ORDER BY name"
            ),
        ]


@pytest.fixture(scope="module")
def targets(
    postgres_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Target]]:
    """One server a backend, each with one queue and one job."""
    with ExitStack() as stack:
        found = []
        for backend in BACKENDS:
            folder = tmp_path_factory.mktemp(backend)
            url = (
                sqlite_url(folder / "queue.sqlite")
                if backend == "sqlite"
                else stack.enter_context(fresh_database(postgres_server))
            )
            server = stack.enter_context(
                serving(url, folder, "--workers=2", FLASK_FORGE_JOBS_ENABLE_DEMO="true")
            )
            port = server.port()
            first = post_json("/jobs/enqueue", {"kind": "first", "payload": {}})
            assert send(port, first).status == 200
            sql = Sql(DatabaseSettings.from_url(url))
            found.append(Target(backend, url, port, sql))
        yield found


def _masked(answer: Answer) -> tuple[object, ...]:
    body = _ID.sub(b"<id>", answer.body)
    names = ("Content-Type", "Allow", "Retry-After", "Cache-Control")
    return (answer.status, body, *(answer.headers.get(name) for name in names))


@pytest.mark.parametrize(
    "case",
    # tests/api asks most of it without a server, so a fourth does by default.
    [long(case) if number % 4 else case for number, case in enumerate(CASES)],
    ids=lambda case: case.name,
)
def test_bad_request_is_refused(case: Case, targets: list[Target]) -> None:
    before = [target.state() for target in targets]

    answers = [case.send(target.port, case.request) for target in targets]

    for target, answer in zip(targets, answers, strict=True):
        assert answer.status == case.status, (target.backend, answer)
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.fault == case.fault, (target.backend, answer)
    assert _masked(answers[0]) == _masked(answers[1])
    assert [target.state() for target in targets] == before


@pytest.mark.parametrize("row", gate.KEPT, ids=lambda row: row.name)
def test_good_value_is_kept_alike(row: gate.Row, targets: list[Target]) -> None:
    body = b'{"kind":"gate","payload":%b}' % row.wire
    request = Request("POST", "/jobs/enqueue", body, JSON)

    answers = [send(target.port, request) for target in targets]

    for target, answer in zip(targets, answers, strict=True):
        assert answer.status == 200, (target.backend, answer)
        assert _stored(target, answer.json()) == row.stored
    inspected = [
        send(target.port, Request("GET", f"/jobs/inspect/{answer.json()}"))
        for target, answer in zip(targets, answers, strict=True)
    ]
    payloads = [answer.body.partition(b'"payload":')[2] for answer in inspected]
    assert payloads[0] == payloads[1]


class _Bound:
    """An extension together with its application, over the database of a target."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._app = Flask(target.backend)
        self._app.config["FORGE_JOBS_DATABASE_URL"] = target.url
        self._forge = ForgeJobs(self._app)

    def enqueue(self, value: object) -> str:
        """Store a job with a payload and return its id."""
        with self._app.app_context():
            return self._forge.enqueue("gate", value).id

    def close(self) -> None:
        """Close the database."""
        with self._app.app_context():
            self._forge.storage.close()


@pytest.fixture(scope="module")
def applications(targets: list[Target]) -> Iterator[list[_Bound]]:
    """An application in this process over each of the same databases."""
    with ExitStack() as stack:
        yield [stack.enter_context(closing(_Bound(target))) for target in targets]


@pytest.mark.parametrize(
    "row",
    [row for row in gate.REFUSED if row.value is not gate.ONLY_BYTES],
    ids=lambda row: row.name,
)
def test_python_refuses_what_the_wire_refuses(
    row: gate.Row, applications: list[_Bound]
) -> None:
    for application in applications:
        before = application.target.state()

        with pytest.raises(InvalidInputError) as caught:
            application.enqueue(row.value)

        assert caught.value.field.startswith("payload")
        assert application.target.state() == before


@pytest.mark.parametrize(
    "row",
    # None stands for an empty object in Python; a wire has to say what it means.
    [row for row in gate.KEPT if row.value is not None],
    ids=lambda row: row.name,
)
def test_python_keeps_what_the_wire_keeps(
    row: gate.Row, applications: list[_Bound]
) -> None:
    for application in applications:
        job_id = application.enqueue(row.value)

        assert _stored(application.target, job_id) == row.stored


def _stored(target: Target, job_id: str) -> str:
    return str(target.sql.value("SELECT payload FROM forge_job WHERE id = ?", job_id))
