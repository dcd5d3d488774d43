"""The lists of jobs in a browser, with and without script."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from flask_forge_jobs.dashboard.jobs import questions
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.storage.base import Storage
from tests.dashboard.browser import probes
from tests.dashboard.browser.sites import Site, running_site
from tests.support.browser import complaints_of, lent_tab
from tests.support.jobs import claim_one, having, job_with

# The default tier runs one test of this module without script, too.
BOTH = pytest.mark.parametrize("with_script", [True, False], ids=["script", "plain"])
SCRIPT = pytest.mark.parametrize(
    "with_script",
    [True, pytest.param(False, marks=pytest.mark.long)],
    ids=["script", "plain"],
)


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site whose jobs each test stores in a queue of its own."""
    with running_site(tmp_path_factory.mktemp("lists")) as made:
        made.storage.open()
        yield made


@pytest.fixture
def page(browser: Browser, lists: Site, *, with_script: bool) -> Iterator[Page]:
    """A tab of an admin; the browser must not complain."""
    headers = lists.headers["admin"]
    with lent_tab(browser, headers, with_script=with_script) as opened:
        complaints = complaints_of(opened)
        yield opened
        assert complaints == []


def fill(storage: Storage, queue_name: str) -> None:
    for status in (JobStatus.DEAD, JobStatus.FAILED, JobStatus.DONE):
        for _ in range(4):
            job_with(storage, status, queue_name=queue_name)
    storage.jobs.enqueue(NewJob("send", queue_name=queue_name))
    claim_one(storage, queue_name=queue_name)


def ids(storage: Storage, queue_name: str, *statuses: JobStatus) -> set[str]:
    job_filter = having(*statuses, queue_name=queue_name)
    return {job.id for job in storage.job_reader.page(job_filter, 1000).rows}


def shown(page: Page) -> list[str]:
    """Return the ids of the rows on the page, once it is read to its end."""
    page.wait_for_load_state()
    rows = page.locator("#rows tbody tr").all()
    return [(row.get_attribute("id") or "")[2:] for row in rows]


def choose(page: Page, name: str) -> None:
    """Choose an action of the bar."""
    page.locator("#bulk .end").get_by_text(re.compile(f"^{name}")).click()


def answered(page: Page, text: str) -> None:
    """Wait for the message about a change."""
    where = page.locator("#messages, #toasts").get_by_text(text)
    expect(where.first).to_be_visible()


@SCRIPT
def test_P02_P04_D04_D10_D18_pages_stay_while_jobs_arrive(
    page: Page, lists: Site, *, with_script: bool
) -> None:
    queue = f"paged-{with_script}"
    lists.storage.jobs.enqueue_many([NewJob("send", queue_name=queue)] * 60)
    before = ids(lists.storage, queue)
    page.goto(lists.url(f"/jobs?queue={queue}&per=25"))
    expect(page.locator("h1")).to_have_text("60 jobs match")
    walked = shown(page)
    while page.get_by_role("link", name="Next", exact=True).count():
        lists.storage.jobs.enqueue(NewJob("send", queue_name=queue))
        page.get_by_role("link", name="Next", exact=True).click()
        walked += shown(page)

    assert len(walked) == len(set(walked)) == 60
    assert set(walked) == before
    expect(page.locator("h1")).to_have_text("62 jobs match")
    page.go_back()
    assert shown(page) == walked[25:50]
    address = page.url
    page.reload()
    assert (page.url, shown(page)) == (address, walked[25:50])
    page.go_forward()
    assert shown(page) == walked[50:]
    page.goto(address)
    page.get_by_role("link", name="Previous", exact=True).click()
    assert shown(page) == walked[:25]
    page.get_by_role("link", name="First", exact=True).click()
    assert len(set(shown(page)) - before) == 2


@pytest.mark.parametrize(
    ("path", "status", "column", "with_script"),
    [
        ("dead", JobStatus.DEAD, "Finished", False),
        pytest.param(
            "retries", JobStatus.FAILED, "Next try", True, marks=pytest.mark.long
        ),
    ],
)
def test_P04_D10_failed_jobs_have_a_number_pages_and_a_filter(
    page: Page,
    lists: Site,
    path: str,
    status: JobStatus,
    column: str,
    *,
    with_script: bool,
) -> None:
    queue = f"{path}-{with_script}"
    for name in (queue, queue, queue, f"other-{queue}"):
        for _ in range(9):
            job_with(lists.storage, status, queue_name=name)
    page.goto(lists.url(f"/{path}?queue={queue}&per=25"))

    expect(page.locator("h1")).to_contain_text("27 ")
    expect(page.locator("#foot")).to_contain_text("25 of 27")
    first = shown(page)
    page.get_by_role("link", name="Next", exact=True).click()
    expect(page.locator("#foot")).to_contain_text("27 of 27")
    assert len(set(first + shown(page))) == 27
    assert set(first + shown(page)) == ids(lists.storage, queue, status)
    head = page.locator("#rows th").filter(has_text=column)
    expect(head).to_have_attribute("aria-sort", re.compile("."))
    time = page.locator("#rows tbody tr").first.locator("time").last
    expect(time).to_have_attribute("title", re.compile(r"\d{4}-\d\d-\d\d .* UTC"))


@SCRIPT
def test_an_empty_list_has_no_filter_but_the_one_that_emptied_it(
    page: Page, lists: Site
) -> None:
    page.goto(lists.url("/scheduled"))
    expect(page.locator(".empty")).to_be_visible()
    expect(page.locator("#filter")).to_be_hidden()

    page.goto(lists.url("/scheduled?queue=absent"))
    expect(page.locator("#filter .chip")).to_be_visible()


@BOTH
def test_P03_D01_D02_an_action_touches_what_the_filter_lists(
    page: Page, lists: Site, *, with_script: bool
) -> None:
    mine, other = f"mine-{with_script}", f"other-{with_script}"
    for queue in (mine, other):
        fill(lists.storage, queue)
    kept = ids(lists.storage, mine, JobStatus.DONE, JobStatus.IN_PROGRESS)
    others = ids(lists.storage, other)
    page.goto(lists.url("/jobs"))
    field = page.get_by_label("Add a filter")
    field.fill(f"queue:{mine} status:dead status:retrying")
    field.press("Enter")
    listed = shown(page)
    expect(page.locator("h1")).to_have_text("8 jobs match")
    address = page.url

    page.get_by_text("Select all 8 that match").click()
    expect(page.locator("#bulk")).to_contain_text("All 8 that match")
    choose(page, "Delete")
    asked = page.locator("dialog")
    expect(asked).to_contain_text("Delete 8 jobs for good?")
    expect(asked).to_contain_text("Retrying or Dead")
    expect(asked).to_contain_text(mine)
    if with_script:
        assert probes.scan(page) == []
    asked.get_by_label("Type 8 to go on").fill("80")
    asked.get_by_role("button", name="Delete 8 jobs").click()
    # The browser refuses another number.
    expect(asked.get_by_label("Type 8 to go on")).to_be_focused()
    assert kept < ids(lists.storage, mine)
    asked.get_by_label("Type 8 to go on").fill("8")
    asked.get_by_role("button", name="Delete 8 jobs").click()

    answered(page, "8 jobs deleted")
    assert ids(lists.storage, mine) == kept
    assert kept.isdisjoint(listed)
    assert ids(lists.storage, other) == others
    # The filter stays, the selection does not.
    assert page.url == address
    expect(page.locator("h1")).to_have_text("No job matches")


@SCRIPT
def test_D03_D06_D16_P16_a_selection_says_what_it_is(
    page: Page, lists: Site, *, with_script: bool
) -> None:
    queue = f"ticked-{with_script}"
    fill(lists.storage, queue)
    (running,) = ids(lists.storage, queue, JobStatus.IN_PROGRESS)
    page.goto(lists.url(f"/jobs?queue={queue}"))
    boxes = page.locator("#rows tbody input")
    buttons = page.locator("#bulk button:visible")
    expect(buttons).to_have_count(0)

    # The newest is the running one: only Cancel applies to it.
    boxes.nth(0).check()
    expect(buttons).to_have_text(["Cancel"])
    boxes.nth(1).check()
    expect(buttons).to_have_text(["Cancel", "Delete"])
    if with_script:
        boxes.nth(4).click(modifiers=["Shift"])
        expect(page.locator("#bulk")).to_contain_text("5 on this page")
        page.get_by_label("Select this page").check()
        expect(page.locator("#bulk")).to_contain_text("13 on this page")
        page.get_by_label("Select this page").uncheck()
        expect(buttons).to_have_count(0)
        boxes.nth(0).check()
    # Another filter is another selection.
    page.locator("#tabs").get_by_text("Dead").click()
    page.wait_for_url("**status=dead*")
    expect(page.locator("#rows tbody input:checked")).to_have_count(0)
    page.goto(lists.url(f"/jobs?queue={queue}"))
    boxes.nth(0).check()
    boxes.nth(1).check()
    choose(page, "Delete")
    asked = page.locator("dialog")
    expect(asked).to_contain_text("Delete 1 job for good?")
    expect(asked).to_contain_text("1 of the selected jobs stay as they are")
    asked.get_by_role("button", name="Delete 1 job").click()
    answered(page, "1 job deleted")
    assert lists.storage.job_reader.get(running).cancel_requested_at is None
    expect(page.locator("#rows tbody input:checked")).to_have_count(0)

    address = page.url
    page.locator("#rows tbody a.k").first.click()
    acts = asked.locator(".end").get_by_role("button")
    expect(acts).to_have_text(["Cancel"])
    # The drawer has an address, and the way back closes it.
    assert page.url.endswith(f"job={running}")
    page.reload()
    expect(acts).to_have_text(["Cancel"])
    page.go_back()
    expect(asked).to_have_count(0)
    assert page.url == address
    page.go_forward()
    expect(acts).to_have_text(["Cancel"])
    if with_script:
        page.keyboard.press("Escape")
        expect(asked).to_have_count(0)
        assert page.url == address
        page.locator("#rows tbody a.k").first.click()
    asked.get_by_role("button", name="Cancel").click()
    expect(asked).to_contain_text("Cancel 1 job?")
    asked.get_by_role("button", name="Cancel 1 job").click()
    answered(page, "1 job cancelled or asked to stop")
    assert lists.storage.job_reader.get(running).cancel_requested_at is not None
    page.reload()
    expect(page.locator("#rows tbody tr").first).to_contain_text("stopping")


@SCRIPT
def test_a_long_action_shows_its_progress_and_its_result(
    page: Page, lists: Site, monkeypatch: pytest.MonkeyPatch, *, with_script: bool
) -> None:
    monkeypatch.setattr(questions, "MAX_AT_ONCE", 2)
    queue = f"long-{with_script}"
    fill(lists.storage, queue)
    page.goto(lists.url(f"/dead?queue={queue}&all=1&ask=delete"))
    asked = page.locator("dialog")
    expect(asked).to_contain_text("goes on in the background")

    asked.get_by_role("button", name="Delete 4 jobs").click()

    # The page refreshes itself until the end.
    expect(page.locator("h1")).to_have_text("4 jobs deleted")
    expect(page.locator("#run")).to_contain_text(f"queue is {queue}")
    assert "/bulk/" in page.url
    assert ids(lists.storage, queue, JobStatus.DEAD) == set()


@pytest.mark.parametrize("with_script", [True])
def test_new_jobs_wait_above_the_rows(
    page: Page, lists: Site, *, with_script: bool
) -> None:
    assert with_script
    queue = "fresh"
    lists.storage.jobs.enqueue_many([NewJob("send", queue_name=queue)] * 3)
    page.goto(lists.url(f"/jobs?queue={queue}"))
    first = shown(page)
    lists.storage.jobs.enqueue(NewJob("send", queue_name=queue))

    page.keyboard.press("r")

    bar = page.get_by_role("link", name="1 new job matches. Show them.")
    expect(bar).to_be_visible()
    assert shown(page) == first
    bar.click()
    expect(page.locator("#rows tbody tr")).to_have_count(4)
