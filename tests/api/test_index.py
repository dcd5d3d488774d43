from __future__ import annotations

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_forge_jobs import create_blueprint
from flask_forge_jobs.server import create_app
from tests.api.faulty import faulty_storage

PREFIX = "/api/queue"
UNASKED = faulty_storage(AssertionError("the storage was asked"))


def mounted(prefix: str) -> FlaskClient:
    """A client of an application that lets nobody in."""
    app = Flask("host")
    app.register_blueprint(create_blueprint(UNASKED), url_prefix=prefix)
    return app.test_client()


def test_programs_get_links() -> None:
    answer = mounted(PREFIX).get(f"{PREFIX}/")

    assert answer.status_code == 200
    assert answer.get_json()["name"] == "flask-forge-jobs"
    assert answer.get_json()["links"]["queues"] == f"{PREFIX}/v1/queues"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Accept" in answer.headers["Vary"]


@pytest.mark.parametrize("path", [PREFIX, f"{PREFIX}/"])
def test_people_get_a_page_whose_links_lead_somewhere(path: str) -> None:
    client = mounted(PREFIX)
    page = client.get(
        path, headers={"Accept": "text/html,*/*;q=0.8"}, follow_redirects=True
    )

    links = re.findall(r'<a href="([^"]+)">', page.text)
    found = [client.get(f"{PREFIX}/{link}").status_code for link in links]
    assert page.mimetype == "text/html"
    assert links[0] == "health"
    assert found == [200, *[403] * (len(links) - 1)]


def test_what_is_not_there_is_refused_as_elsewhere() -> None:
    answer = mounted(PREFIX).post(f"{PREFIX}/")

    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")


def test_the_root_of_an_application_is_its_own() -> None:
    assert mounted("").get("/").status_code == 404


def test_the_root_of_the_server_answers() -> None:
    client = create_app({}).test_client()

    assert client.get("/").get_json()["links"]["health"] == "/health"


def test_a_server_with_a_prefix_answers_there() -> None:
    client = create_app({"FORGE_JOBS_URL_PREFIX": "/jobs-api"}).test_client()

    assert client.get("/jobs-api/").status_code == 200
    assert client.get("/").status_code == 404
