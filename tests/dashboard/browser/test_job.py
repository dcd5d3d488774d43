"""One job in a browser: its buttons, its cancellation, its times, its blocks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Dead
from flask_forge_jobs.model.run_logs import LogChunk, LogLine
from tests.dashboard.browser.filling import TRACEBACK
from tests.dashboard.browser.sites import Site, running_site
from tests.support.browser import complaints_of, lent_tab, tab
from tests.support.jobs import OWNER, claim_one, finish, job_with, run, update_for


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site whose tests add jobs, each in a queue of its own."""
    with running_site(tmp_path_factory.mktemp("site")) as made:
        made.storage.open()
        yield made


@pytest.fixture(
    params=[
        pytest.param(True, id="script"),
        pytest.param(False, id="no-script", marks=pytest.mark.long),
    ]
)
def page(
    request: pytest.FixtureRequest, browser: Browser, site: Site
) -> Iterator[Page]:
    """A tab of an admin, with and without script."""
    headers = site.headers["admin"]
    with lent_tab(browser, headers, with_script=request.param) as opened:
        yield opened


def running(site: Site, name: str) -> ClaimedJob:
    site.storage.jobs.enqueue(NewJob("rebuild", queue_name=name))
    return claim_one(site.storage, queue_name=name)


def test_P14_P16_D02_a_running_job_is_asked_to_stop_and_never_deleted(
    page: Page, site: Site, request: pytest.FixtureRequest
) -> None:
    complaints = complaints_of(page)
    job = running(site, request.node.name)
    job_id = job.id
    page.goto(site.url(f"/jobs/{job_id}"))
    head = page.locator("#job")
    expect(head.get_by_role("link", name="Delete")).to_have_count(0)

    head.get_by_role("link", name="Cancel").click()
    question = page.get_by_role("dialog")
    expect(question).to_contain_text("Ask this job to stop?")
    question.get_by_label("Reason").fill("the index is stale")
    question.get_by_role("button", name="Ask it to stop").click()

    expect(page.get_by_text(f"Job {job_id} is asked to stop.")).to_be_visible()
    expect(head).to_contain_text("Stopping")
    expect(head).to_contain_text("Cancel requested")
    expect(page.locator("#why")).to_contain_text("“the index is stale”")
    assert site.storage.job_reader.get(job_id).status is JobStatus.IN_PROGRESS
    # So it says until the worker ends it.
    ended = update_for(job, Dead("stopped"), failure_delay_s=0, user_cancelled=True)
    assert site.storage.jobs.finish(OWNER, [ended]) == []
    page.reload()
    expect(head.get_by_text("Cancelled")).to_be_visible()
    expect(head).not_to_contain_text("Cancel requested")
    assert complaints == []


def test_D02_D16_a_job_is_deleted_after_a_question_only(
    page: Page, site: Site, request: pytest.FixtureRequest
) -> None:
    job_id = job_with(site.storage, JobStatus.DONE, queue_name=request.node.name)
    page.goto(site.url(f"/jobs/{job_id}"))
    buttons = page.locator("#job .end").locator("a, button")
    expect(buttons).to_have_text(["Delete"])

    buttons.click()
    assert site.storage.job_reader.get(job_id).id == job_id
    page.get_by_role("button", name="Delete 1 job").click()

    expect(page.get_by_text(f"Job {job_id} is deleted.")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_contain_text("There is no job")


def test_D24_every_time_has_its_date_and_zone(
    page: Page, site: Site, request: pytest.FixtureRequest
) -> None:
    name = request.node.name
    site.storage.jobs.enqueue(NewJob("charge", queue_name=name))
    job = claim_one(site.storage, queue_name=name)
    line = LogLine(job.claimed_at_us, "ERROR", "shop", "no answer")
    chunk = LogChunk(job.run_id, 1, 0, [line])
    site.storage.jobs.heartbeat(OWNER, {}, [chunk])
    assert finish(site.storage, job, Dead("no answer", traceback=TRACEBACK))

    page.goto(site.url(f"/jobs/{job.id}"))

    times = page.locator("main time")
    assert times.count() >= 4
    for time in times.all():
        assert (time.get_attribute("title") or "").endswith(" UTC")
        assert time.get_attribute("datetime")
        assert time.inner_text()


def test_a_library_s_frames_unfold(page: Page, site: Site) -> None:
    trace = TRACEBACK.replace(
        "ConnectionError",
        '  File "/v/lib/python3.12/site-packages/urllib3/pool.py", line 9, in go\n'
        "    connect()\nConnectionError",
    )
    site.storage.jobs.enqueue(NewJob("charge", queue_name="frames"))
    job = run(site.storage, Dead("away", traceback=trace), queue_name="frames")
    page.goto(site.url(f"/jobs/{job.id}"))
    hidden = page.get_by_text("connect()", exact=True)

    expect(hidden).to_be_hidden()
    page.get_by_text("1 frame in urllib3").click()
    expect(hidden).to_be_visible()


def test_texts_are_copied_without_https_and_log_lines_are_added(
    browser: Browser, site: Site
) -> None:
    site.storage.jobs.enqueue(NewJob("rebuild", queue_name="log"))
    job = claim_one(site.storage, queue_name="log")
    lines = [LogLine(1_790_000_000_000_000, "INFO", "shop", f"step {n}") for n in "abc"]
    site.storage.jobs.heartbeat(OWNER, {}, [LogChunk(job.run_id, 1, 0, lines[:2])])
    with tab(browser, extra_http_headers=site.headers["admin"]) as page:
        page.add_init_script("delete Navigator.prototype.clipboard")
        page.goto(site.url(f"/jobs/{job.id}"))
        first = page.locator("#lines li").first
        first.evaluate("line => { line.wasHere = true; }")

        page.get_by_role("button", name="Copy the id").click()
        expect(page.get_by_role("status").get_by_text("Copied.")).to_be_visible()
        page.keyboard.press("/")
        page.keyboard.press("Control+V")
        found = page.get_by_role("dialog").get_by_role("textbox")
        expect(found).to_have_value(job.id)
        page.keyboard.press("Escape")
        site.storage.jobs.heartbeat(OWNER, {}, [LogChunk(job.run_id, 1, 2, lines[2:])])
        with page.expect_response(lambda answer: "after=" in answer.url) as caught:
            page.keyboard.press("r")

        expect(page.locator("#lines p")).to_have_text(["step a", "step b", "step c"])
        assert first.evaluate("line => line.wasHere")
        assert "step a" not in caught.value.text()
