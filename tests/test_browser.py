"""What strangers stored, and what strange pages try, in a real browser."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask, Response
from playwright.sync_api import Browser, Page

from flask_forge_jobs.blueprint import BlueprintOptions, create_blueprint
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.jobs import JobFilter, JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Failed
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.model.workers import SlotReport
from flask_forge_jobs.storage.base import Storage, open_storage
from tests.support.browser import elements_of, running_browser, settled, tab
from tests.support.jobs import OWNER, claim_one, run
from tests.support.wsgi import served

PREFIX = "/forge-jobs"
FAR_OFF = datetime(2999, 1, 1, tzinfo=UTC)
CORPUS = Path(__file__).parent / "api" / "hazards" / "corpora" / "xss.txt"
# What Chromium itself puts around a text that it shows.
AROUND_TEXT = {"html", "head", "meta", "body", "pre", "div"}
UNFIT_FOR_A_QUEUE = str.maketrans("", "", ",/?#%")


def _hostile() -> list[str]:
    """Return the corpus, each string in five forms; where it can, it calls /hit."""
    found: dict[str, None] = {}
    for line in CORPUS.read_text("utf-8").splitlines():
        text = line.replace("alert(1)", "fetch('/hit')").replace("src=x", "src=/hit")
        for form in (text, f'">{text}', f"'>{text}", f"</pre>{text}", text.upper()):
            found[form] = None
    return [*found]


HOSTILE = _hostile()


@dataclass
class Site:
    """A host application that everybody is signed in to, with the API mounted in it."""

    storage: Storage
    port: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)
    pages: dict[str, tuple[bytes, str]] = field(default_factory=dict)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """Return the address of a path."""
        return f"http://{host}:{self.port}{path}"

    @cached_property
    def later(self) -> str:
        """A job that starts far ahead."""
        return self.storage.jobs.enqueue(NewJob("later", run_at=FAR_OFF)).id

    def jobs_scheduled(self) -> int:
        """Return how many jobs start later."""
        return self.storage.job_reader.page(JobFilter(scheduled=True), 1).total

    def jobs(self, kind: str) -> int:
        """Return how many jobs of a kind there are."""
        return self.storage.job_reader.page(JobFilter(kinds=(kind,)), 1).total


@contextlib.contextmanager
def serving(options: BlueprintOptions, app: Flask) -> Iterator[Site]:
    """Serve an application with the API."""
    with contextlib.closing(open_storage(DatabaseSettings())) as storage:
        storage.open()
        made = Site(storage)
        app.register_blueprint(
            create_blueprint(storage, options=options), url_prefix=PREFIX
        )

        def noting(environ: Any, start_response: Any) -> Any:
            made.asked.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
            return app(environ, start_response)

        @app.get("/page/<name>")
        def page(name: str) -> Any:
            body, media_type = made.pages[name]
            return body, {"Content-Type": media_type}

        with served(noting) as made.port:
            yield made


@pytest.fixture
def site() -> Iterator[Site]:
    options = BlueprintOptions(authenticator=lambda _request: True)
    with serving(options, Flask("host")) as made:
        yield made


@pytest.fixture
def open_site() -> Iterator[Site]:
    """One in debug mode, without a login, whose answers every page may read."""
    app = Flask("host")
    app.debug = True

    @app.after_request
    def allow_all(response: Response) -> Response:
        response.headers["Access-Control-Allow-Origin"] = "*"
        return response

    with serving(BlueprintOptions(), app) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with tab(browser) as opened:
        yield opened


# -- stored by strangers -----------------------------------------------------------


def _store(storage: Storage) -> str:
    """Put every string wherever a stranger's text may go; return a job with all."""
    for text in HOSTILE:
        queue_name = text.translate(UNFIT_FOR_A_QUEUE).strip() or "x"
        job = NewJob(
            text, dump({text: text}), queue_name=queue_name, dedupe_key=text,
            max_attempts=1 + len(text) % 2,
        )  # fmt: skip
        storage.jobs.enqueue(job)
        run(storage, Failed(f"{text}: {text}"), queue_name=queue_name)
    whole = NewJob("whole", dump([{text: text} for text in HOSTILE]))
    job_id = storage.jobs.enqueue(whole).id
    running = claim_one(storage)
    storage.jobs.heartbeat(OWNER, {job_id: dump(HOSTILE[:20])})
    done = JobUpdate(running, JobStatus.DONE, result=dump(HOSTILE))
    assert storage.jobs.finish(OWNER, [done]) == []
    names = [text[:100] for text in HOSTILE[:50]]
    slots = [SlotReport(name, "default") for name in names]
    storage.workers.beat(names[0], names[0], ["default"], slots)
    return job_id


@pytest.mark.long
def test_sec_S17_S19_H35_what_strangers_stored_is_shown_and_never_run(
    site: Site, page: Page
) -> None:
    job_id = _store(site.storage)
    evil = quote("<img src=/hit onerror=fetch('/hit')>")
    paths = [
        "/v1/jobs?limit=1000", f"/v1/jobs/{job_id}", f"/jobs/inspect/{job_id}",
        "/jobs/failed", "/jobs/kinds", "/queue/overview", "/queue/workers",
        "/v1/errors", "/v1/events", "/metrics",
        f"/none/{evil}", f"/v1/jobs?sort={evil}",
    ]  # fmt: skip
    assert len(HOSTILE) >= 300

    for path in paths:
        site.asked.clear()
        settled(page, site.url(PREFIX + path))
        elements = elements_of(page)
        assert elements <= AROUND_TEXT, (path, elements - AROUND_TEXT)
        assert page.inner_text("body").lstrip()[:1] in ("{", "[", "#"), path
        # The page itself, and the icon that browsers look for.
        others = {asked for _, asked in site.asked} - {"/favicon.ico"}
        assert len(others) == 1, (path, others)


def test_the_same_text_as_html_would_run(site: Site, page: Page) -> None:
    """Without this the test above might see nothing because it looks wrongly."""
    text = "\n".join(HOSTILE).encode()
    site.pages["html"] = (text, "text/html; charset=utf-8")

    settled(page, site.url("/page/html"))

    assert {"script", "img", "svg"} <= elements_of(page)
    assert ("GET", "/hit") in site.asked


# -- pages of strangers ------------------------------------------------------------

STRANGE_PAGE = """<!doctype html><pre id=out></pre><iframe name=away></iframe><script>
const api = "API", out = {};
const note = (name, promise) => promise.then(
  answer => { out[name] = answer.status ?? answer; }, () => { out[name] = "no"; });
const load = (tag, key, url) => new Promise((resolve, reject) => {
  const element = document.createElement(tag);
  element.onload = () => resolve("loaded"); element.onerror = reject;
  element[key] = url; document.body.append(element);
});
const body = JSON.stringify({kind: "evil", payload: {}});
const post = (type, more) => fetch(api + "/jobs/enqueue",
  {method: "POST", body, headers: {"Content-Type": type}, ...more});
const form = () => new Promise(resolve => {
  const form = document.createElement("form");
  form.method = "post"; form.action = api + "/jobs/enqueue"; form.target = "away";
  form.enctype = "text/plain";
  const input = document.createElement("input");
  input.name = body.slice(0, -1) + ', "x": "'; input.value = '"}';
  form.append(input); document.body.append(form);
  document.querySelector("iframe").onload = () => resolve("sent");
  form.submit();
});
Promise.all([
  note("read", fetch(api + "/v1/jobs", {credentials: "include"})),
  note("read blindly", fetch(api + "/v1/jobs", {mode: "no-cors"})),
  note("run as script", load("script", "src", api + "/v1/jobs")),
  note("show as image", load("img", "src", api + "/v1/jobs")),
  note("write json", post("application/json", {credentials: "include"})),
  note("write text", post("text/plain", {mode: "no-cors"})),
  note("write form", form()),
  note("write nothing", fetch(api + "/jobs/run-now/JOB",
    {method: "POST", mode: "no-cors"})),
]).then(() => { document.querySelector("#out").textContent = JSON.stringify(out); });
</script>"""


def _results(site: Site, page: Page, host: str) -> dict[str, object]:
    html = STRANGE_PAGE.replace("API", site.url(PREFIX)).replace("JOB", site.later)
    site.pages["strange"] = (html.encode(), "text/html; charset=utf-8")
    page.goto(site.url("/page/strange", host))
    page.wait_for_selector("#out:not(:empty)")
    found: dict[str, object] = json.loads(page.inner_text("#out"))
    return found


def test_sec_S14_S16_S18_page_of_another_site_reads_and_writes_nothing(
    site: Site, page: Page
) -> None:
    found = _results(site, page, "localhost")

    assert found == {
        "read": "no", "read blindly": "no", "run as script": "no",
        "show as image": "no", "write json": "no", "write text": "no",
        "write nothing": "no", "write form": "sent",
    }  # fmt: skip
    # The form and the blind writes did reach us; the browser held the other back.
    assert site.asked.count(("POST", f"{PREFIX}/jobs/enqueue")) == 2
    assert site.asked.count(("POST", f"{PREFIX}/jobs/run-now/{site.later}")) == 1
    assert site.jobs("evil") == 0
    assert site.jobs_scheduled() == 1


def test_page_of_the_same_origin_reads_and_writes(site: Site, page: Page) -> None:
    """Without this the test above might pass because nothing works at all."""
    found = _results(site, page, "127.0.0.1")

    assert (found["read"], found["write json"]) == (200, 200)
    # What a form or a blind page could send is refused from here too.
    assert (found["write text"], found["run as script"]) == (415, "no")
    assert site.jobs("evil") == 1
    assert (found["write nothing"], site.jobs_scheduled()) == (200, 0)


READING_PAGE = """<!doctype html><pre id=out></pre><script>
fetch("API/v1/jobs").then(answer => answer.status, () => "no").then(
  found => { document.querySelector("#out").textContent = found; });
</script>"""


def test_sec_S10_page_of_another_port_or_site_does_not_read_as_this_machine(
    site: Site, open_site: Site, page: Page
) -> None:
    html = READING_PAGE.replace("API", open_site.url(PREFIX)).encode()
    for each in (site, open_site):
        each.pages["reading"] = (html, "text/html; charset=utf-8")
    path = "/page/reading"

    found = []
    for url in (open_site.url(path), site.url(path), open_site.url(path, "localhost")):
        page.goto(url)
        page.wait_for_selector("#out:not(:empty)")
        found.append(page.inner_text("#out"))

    assert found == ["200", "403", "403"]
    assert open_site.asked.count(("GET", f"{PREFIX}/v1/jobs")) == 3


def test_link_of_another_site_opens_what_is_open_to_this_machine(
    site: Site, open_site: Site, page: Page
) -> None:
    address = open_site.url(f"{PREFIX}/v1/jobs")
    html = f"<!doctype html><script>location = '{address}'</script>".encode()
    site.pages["link"] = (html, "text/html; charset=utf-8")

    page.goto(site.url("/page/link", "localhost"))
    page.wait_for_url(address)

    assert json.loads(page.inner_text("pre"))["rows"] == []
