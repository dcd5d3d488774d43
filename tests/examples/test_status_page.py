"""The page with a progress bar of the manual, in a real browser."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import expect

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.base import Storage
from tests.examples.pages import write_files
from tests.support.browser import running_browser, tab
from tests.support.jobs import OWNER
from tests.support.wsgi import served


@dataclass
class Site:
    """The manual's application, whose job goes on each time it is looked at."""

    app: Flask
    port: int = 0
    looks: list[str] = field(default_factory=list)

    @property
    def storage(self) -> Storage:
        """The stores of the application."""
        return state_of(self.app).storage

    def looked(self, path: str) -> None:
        """Do what a worker would do meanwhile."""
        self.looks.append(path)
        if len(self.looks) == 2:
            (self.job,) = self.storage.jobs.claim("default", OWNER)
        if len(self.looks) == 3:
            report = '{"done":1,"total":4,"message":"row 2"}'
            self.storage.jobs.heartbeat(OWNER, {self.job.id: report})
        if len(self.looks) == 4:
            result = '{"file":"export.csv","rows":4}'
            ending = JobUpdate(self.job, JobStatus.DONE, result=result)
            self.storage.jobs.finish(OWNER, [ending])


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    write_files("results.rst", tmp_path)
    spec = importlib.util.spec_from_file_location("app_of_page", tmp_path / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "app_of_page", module)  # where Flask looks
    spec.loader.exec_module(module)
    made = Site(module.app)

    def noting(environ: Any, start_response: Any) -> Any:
        if "/job-status/" in environ["PATH_INFO"]:
            made.looked(environ["PATH_INFO"])
        return made.app(environ, start_response)

    with served(noting) as made.port:
        yield made
    made.storage.close()


@pytest.mark.long
def test_a_browser_follows_a_job_to_its_end(site: Site) -> None:
    client = site.app.test_client()
    location = client.post("/exports").headers["Location"]

    with running_browser() as browser, tab(browser) as page:
        page.goto(f"http://127.0.0.1:{site.port}{location}")
        expect(page.locator("body")).to_contain_text("4 rows are in export.csv")

    assert len(site.looks) == 4
    assert len(set(site.looks)) == 1


def test_a_link_may_show_a_template_of_the_application(tmp_path: Path) -> None:
    write_files("results.rst", tmp_path)
    layout = "<title>{{ shop }}</title>{% block main %}{% endblock %}"
    (tmp_path / "templates" / "layout.html").write_text(layout, "utf-8")
    app = Flask("shop", template_folder=str(tmp_path / "templates"))
    app.config.update(
        TESTING=True, SECRET_KEY="k" * 32, FORGE_JOBS_STATUS_TEMPLATE="job.html"
    )
    app.context_processor(lambda: {"shop": "Tea & more"})
    forge = ForgeJobs(app)
    with app.test_request_context():
        url = forge.enqueue("export").status_url()

    answer = app.test_client().get(url, headers={"Accept": "text/html"})

    state_of(app).storage.close()
    assert "<title>Tea &amp; more</title>" in answer.text
    assert "<h1>It waits for its turn</h1>" in answer.text
    assert f'data-forge-job="{url.rpartition("/")[2]}"' in answer.text
