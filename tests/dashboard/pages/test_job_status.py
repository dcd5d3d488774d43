"""A status link opens a page in a browser, and stays JSON for programs."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient
from jinja2 import ChoiceLoader, DictLoader
from werkzeug.test import TestResponse

from flask_forge_jobs.auth.links import StatusLinks
from flask_forge_jobs.auth.signing import Signer
from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.dashboard.page_route import PAGE_POLICY
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import Done
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import LINK_SECRETS, PREFIX
from tests.api.tokens import client_with_token
from tests.dashboard.sites import open_page
from tests.support.backends import on_sqlite
from tests.support.jobs import claim_one, enqueue, finish, job_with
from tests.support.sql import Sql

EVIL = "<script>alert(1)</script>"


def _stranger(storage: Storage) -> FlaskClient:
    client = client_with_token(storage, "viewer")
    del client.environ_base["HTTP_AUTHORIZATION"]
    return client


def _link(client: FlaskClient, job_id: str) -> str:
    links = StatusLinks(Signer(LINK_SECRETS), SystemClock())
    return f"{PREFIX}/v1/job-status/{links.token(client.application, job_id, 60)}"


def _page(storage: Storage, job_id: str) -> TestResponse:
    client = _stranger(storage)
    return open_page(client, _link(client, job_id))


@pytest.mark.parametrize(
    ("status", "title"),
    [
        (JobStatus.PENDING, "It waits for its turn"),
        (JobStatus.IN_PROGRESS, "It runs"),
        (JobStatus.DONE, "It is done"),
        (JobStatus.FAILED, "It failed and is tried again"),
        (JobStatus.DEAD, "It failed"),
    ],
)
def test_it_says_how_the_job_stands_and_nothing_of_others(
    storage: Storage, status: JobStatus, title: str
) -> None:
    answer = _page(storage, job_with(storage, status))

    assert answer.status_code == 200
    assert f"<h1>{title}</h1>" in answer.text
    assert answer.headers["Content-Security-Policy"] == PAGE_POLICY
    assert 'href="../../static/dashboard.css?v=' in answer.text
    for hidden in ('id="pages"', 'id="state"', "default", "noop"):
        assert hidden not in answer.text


@on_sqlite
def test_a_cancelled_job_is_no_failure(storage: Storage) -> None:
    job_id = enqueue(storage)
    storage.job_admin.cancel(job_id)

    assert "<h1>It was cancelled</h1>" in _page(storage, job_id).text


@on_sqlite
def test_it_shows_progress_and_result_as_text(storage: Storage, sql: Sql) -> None:
    job_id = enqueue(storage)
    job = claim_one(storage)
    report = f'{{"done":3,"total":4,"message":"{EVIL}"}}'
    sql.run("UPDATE forge_job SET progress = ?", report)

    running = _page(storage, job_id).text
    assert finish(storage, job, Done(f'{{"page":"{EVIL}"}}'))
    done = _page(storage, job_id).text

    assert '<rect class="c-blue" width="75%"' in running
    assert "<b>3</b> of 4" in running
    assert "&#34;page&#34;" in done
    for text in (running, done):
        assert EVIL not in text
        assert "&lt;script&gt;" in text


@on_sqlite
def test_a_bad_link_is_a_page_and_an_old_one_does_not_say_more(
    storage: Storage,
) -> None:
    client = _stranger(storage)

    answers = [
        open_page(client, f"{PREFIX}/v1/job-status/none"),
        open_page(client, _link(client, "none")),
    ]

    texts = []
    for answer in answers:
        assert answer.status_code == 404
        assert "<h1>This link does not work</h1>" in answer.text
        assert "invalid or has expired" in answer.text
        assert "To the start page" not in answer.text
        # No way on is no paragraph.
        assert '<p class="end">' not in answer.text
        texts.append(answer.text.partition("<main")[2].partition("request ")[0])
    assert texts[0] == texts[1]


TEMPLATE = """
{% from "forge_jobs/progress.html" import job_progress %}
<h1>{{ shop }}: {{ title }}, {{ progress.percent }}%</h1>
{{ job_progress(status_url) }}
"""


@on_sqlite
def test_it_may_be_a_template_of_the_application(storage: Storage, sql: Sql) -> None:
    """With its context processors, and one import for what follows the job."""
    client = client_with_token(storage, "viewer", status_template="own.html")
    app = client.application
    assert app.jinja_env.loader is not None
    app.jinja_env.loader = ChoiceLoader(
        [DictLoader({"own.html": TEMPLATE}), app.jinja_env.loader]
    )
    app.context_processor(lambda: {"shop": "Tea & more"})
    path = _link(client, enqueue(storage))
    claim_one(storage)
    sql.run("UPDATE forge_job SET progress = ?", '{"done":3,"total":4}')

    answer = open_page(client, path)
    script = re.search(r'<script src="([^"]+)" defer>', answer.text)

    assert "<h1>Tea &amp; more: It runs, 75%</h1>" in answer.text
    assert f'data-forge-job="{path.rpartition("/")[2]}"' in answer.text
    assert script is not None
    assert client.get(script[1]).content_type == "text/javascript; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert "frame-ancestors" in policy
    assert "-src" not in policy
    assert (answer.headers["Cache-Control"], answer.headers["Vary"]) == (
        "no-store", "Accept"
    )  # fmt: skip
    assert (client.get(path, headers={"Accept": "*/*"}).json or {})["status"]


@on_sqlite
def test_programs_keep_their_json(storage: Storage) -> None:
    client = _stranger(storage)
    path = _link(client, job_with(storage, JobStatus.DONE))

    for accept in ("*/*", "application/json", ""):
        answer = client.get(path, headers={"Accept": accept})
        assert answer.json == {
            "status": "done", "is_ready": True, "is_successful": True,
            "progress": None, "result": 1, "result_error": None, "ending": None,
        }  # fmt: skip
        assert answer.headers["Vary"] == "Accept"
    part = client.get(f"{path}?only=job", headers={"Accept": "text/html"})
    assert part.text.startswith('<div class="panel card" id="job">')
    assert "Accept" in part.headers["Vary"]
