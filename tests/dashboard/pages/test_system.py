"""The system page: health, facts, settings without secrets, versions."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_forge_jobs import ForgeJobs, __version__
from flask_forge_jobs.auth.permissions import ROLES, Principal
from flask_forge_jobs.auth.tokens import new_token
from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.base import Storage
from tests.api.faulty import faulty_storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_of_principal
from tests.dashboard.markup import Element, parsed
from tests.dashboard.sites import open_page
from tests.support.backends import each_backend

PATH = f"{PREFIX}/system"
_, DIGEST = new_token("ci")
ADMIN = Principal("ann", ROLES["admin"])


def shown(client: FlaskClient, path: str = PATH) -> Element:
    answer = open_page(client, path)
    assert answer.status_code == 200, answer.text
    return parsed(answer.text)


@each_backend
def test_health_facts_andversions(storage: Storage) -> None:
    page = shown(client_of_principal(storage, ADMIN))

    assert page.find("h1").text == "No worker is running"
    main = page.find("main").text
    assert "Answers in" in main
    assert storage.backend in main
    facts = {
        fact.text: value.text
        for fact, value in zip(page.all("dt"), page.all("dd"), strict=True)
    }
    assert "Schema version" not in facts  # its check says it
    # The list of versions has them.
    assert not {"Python version", "Package version"} & facts.keys()
    assert "iB of data" in facts["Size"]
    assert ("Connections" in facts) == (storage.backend == "postgres")
    assert __version__ in main
    assert "Settings in force" not in main


def test_a_database_that_is_away_is_said() -> None:
    away = faulty_storage(StorageUnavailableError("postgres://secret@db"))

    page = shown(client_of_principal(away, ADMIN))

    assert page.find("h1").text == "The database does not answer"
    assert "secret" not in page.text
    assert {"Try again": "?"}.items() <= {
        a.text: a["href"] for a in page.all("a")
    }.items()
    assert page.find("main").all("p")[-1].text.startswith("Request ")
    assert "data-still" in page.find("#alarms").attributes
    assert "data-why" in page.find("#live").attributes


def test_a_refresh_of_an_open_page_goes_on_while_the_database_is_away() -> None:
    away = faulty_storage(StorageUnavailableError("no"))

    page = shown(client_of_principal(away, ADMIN), f"{PATH}?only=alarms")

    assert "data-still" not in page.find("#alarms").attributes


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    """An application with settings, some of them secret."""
    host = Flask("host", instance_path=str(tmp_path))
    host.config |= {
        "FORGE_JOBS_AUTH": lambda _: True,
        "FORGE_JOBS_BULK_MAX": 77,
        "FORGE_JOBS_TOKENS": [{"id": "ci", "sha256": DIGEST, "role": "viewer"}],
        "FORGE_JOBS_DATABASE_URL": f"sqlite:///{tmp_path}/secret-name.sqlite",
    }
    ForgeJobs(host)
    return host


def test_settings_in_force_come_without_secrets(app: Flask) -> None:
    page = shown(app.test_client(), "/forge-jobs/system")
    state_of(app).storage.close()

    changed, defaults = (
        [tuple(cell.text for cell in row.all("td")) for row in table.all("tr")[1:]]
        for table in page.all("table")
    )
    assert ("FORGE_JOBS_BULK_MAX", "77 jobs") in changed
    assert ("FORGE_JOBS_TOKENS", "***") in changed
    assert ("FORGE_JOBS_DATABASE_URL", "***") in changed
    assert ("FORGE_JOBS_STRICT_QUEUES", "off") in defaults
    assert ("FORGE_JOBS_MAX_QUEUE_DEPTH", "no bound") in defaults
    assert not any(value.endswith("…") for _key, value in changed + defaults)
    folded = page.find("main").find("details")
    assert folded.find("summary").text == f"{len(defaults)} at their default"
    assert len(folded.all("table")) == 1
    assert DIGEST not in page.text


def test_a_want_of_workers_is_said_by_its_check_alone(storage: Storage) -> None:
    """The bar at the top, the title and its reason said the same beside it."""
    storage.workers.beat("W", None, ["mail"], [])
    storage.jobs.enqueue(NewJob("send", queue_name="bills"))

    main = shown(client_of_principal(storage, ADMIN)).find("main")

    assert main.find("h1").text == "Healthy, but a queue has no worker"
    assert main.text.count("Queue bills has no worker") == 1
    assert main.find("#alarms").all("li") == []
    assert {each.text: each["href"] for each in main.all("a")} == {
        "Show workers": "./workers"
    }


def test_a_limited_caller_sees_no_settings_and_no_other_queue(storage: Storage) -> None:
    storage.queues.ensure("other")
    limited = Principal("bob", ROLES["operator"], frozenset({"mail"}))

    main = shown(client_of_principal(storage, limited)).find("main").text

    assert "other" not in main
    assert "Settings in force" not in main
