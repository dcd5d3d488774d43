"""What every page has or does, looked at on a site with something in every state."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from tests.dashboard.browser import probes
from tests.dashboard.browser.counterparts import COUNTERPARTS
from tests.dashboard.browser.sites import Site
from tests.support.browser import complaints_of, tab

# The names that pages give to their parts; they are parsed and not drawn.
_NAMES = """async addresses => {
  const names = [];
  for (const address of addresses) {
    const answer = await fetch(address, {headers: {Accept: "text/html"}});
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    names.push([...page.querySelectorAll(
      "th, dt, h1, h2, h3, button, a, summary, option, label, label > span, small, b," +
      ".btn, .legend span, .tile > span, .mark, [aria-label]")]
      .flatMap(each => [each.textContent, each.getAttribute("aria-label"),
        each.firstChild?.textContent])
      .map(each => (each || "").trim().replace(/\\s+/g, " ")));
  }
  return names;
}"""


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """A tab of an admin, in which nothing moves."""
    headers = site.headers["admin"]
    with tab(browser, reduced_motion="reduce", extra_http_headers=headers) as opened:
        yield opened


def test_P01_everything_of_the_reference_has_its_counterpart(
    page: Page, site: Site
) -> None:
    page.goto(site.url("/tail"))
    shown = page.evaluate(_NAMES, [site.url(path) for path in COUNTERPARTS])

    missing = {
        path: sorted({name.strip() for name in re.split(r"[|\n]", text)} - {"", *names})
        for (path, text), names in zip(COUNTERPARTS.items(), shown, strict=True)
    }
    assert {path: names for path, names in missing.items() if names} == {}


# -- dialogs -----------------------------------------------------------------------

# Every question that the pages ask, by the page that asks it.
DIALOGS = {
    "/queues": (
        "pause&queue=mail", "cool_down&queue=mail", "remove&queue=mail", "new",
        "pause_all", "resume_all", "cleanup", "keys",
    ),
    "/cron/<name>": ("run", "delete"),
    "/limits": ("drain&scope=gateway", "delete&scope=gateway"),
    "/jobs": (
        "save", "enqueue", "cancel&all=1", "delete&all=1", "reschedule&all=1",
        "run_now&all=1&status=failed",
    ),
    "/dead": ("retry&all=1", "delete&all=1"),
    "/jobs/<job_id>": ("reschedule", "cancel", "delete"),
    "/jobs/<running_id>": ("cancel",),
}  # fmt: skip
_ASK = """address => {
  const link = document.querySelector("#opener") || document.createElement("a");
  Object.assign(link, {id: "opener", href: address, textContent: "Ask"});
  document.querySelector("main").append(link);
  link.focus();
  link.click();
}"""
# Beyond the last of a dialog, Tab goes to the browser itself.
_IS_OUTSIDE = "document.activeElement.matches(':not(dialog *, body)')"


def check_dialog(page: Page) -> None:
    """Check the dialog that is open: sound, with the focus in it until it closes."""
    dialog = page.locator("dialog[open]")
    expect(dialog).to_be_visible()
    assert probes.scan(page, "dialog") == []
    assert probes.focused(page)["isSeen"]
    for key in ("Shift+Tab", "Shift+Tab", "Tab", "Tab", "Tab"):
        assert not page.evaluate(_IS_OUTSIDE)
        page.keyboard.press(key)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


@pytest.mark.parametrize("path", DIALOGS)
def test_P09_D02_D17_a_question_is_sound_and_gives_the_focus_back(
    page: Page, site: Site, path: str
) -> None:
    complaints = complaints_of(page)
    page.goto(site.url(path))
    for ask in DIALOGS[path]:
        page.evaluate(_ASK, f"?ask={ask}")
        check_dialog(page)
        expect(page.locator("#opener")).to_be_focused()
    assert complaints == []


# -- refresh -----------------------------------------------------------------------

# Those that refreshed themselves at a pace of their own, or asked once for each queue.
PACED = ("/", "/scheduled", "/retries", "/cron", "/queues", "/kinds")
OTHERS = ("/jobs", "/dead", "/workers", "/limits", "/audit", "/tail", "/errors",
          "/queues/<name>", "/cron/<name>", "/jobs/<job_id>", "/bulk")  # fmt: skip


@pytest.mark.parametrize(
    "path", [*PACED, *(pytest.param(each, marks=pytest.mark.long) for each in OTHERS)]
)
def test_P11_D08_D27_the_pace_is_that_of_every_page_and_each_asks_once(
    page: Page, site: Site, path: str
) -> None:
    cookie = {"name": "forge_jobs_refresh", "value": "60", "url": site.url("/")}
    page.context.add_cookies([cookie])  # type: ignore[list-item]
    page.clock.install()
    page.goto(site.url(path))
    asked: list[str] = []

    def note(request: Request) -> None:
        if "/static/" not in request.url and "preferences" not in request.url:
            asked.append(request.url)

    page.on("request", note)

    page.clock.run_for(50_000)
    assert asked == []
    with page.expect_response(lambda answer: "only=" in answer.url):
        page.clock.run_for(15_000)
    assert len(asked) == 1
    page.keyboard.press("p")
    page.clock.run_for(300_000)
    assert len(asked) == 1


# -- keys --------------------------------------------------------------------------

WALKED = ("/jobs?queue=work", "/queues?q=work", "/cron?q=mail")
ALSO_WALKED = (
    "/", "/jobs/<job_id>", "/queues/<name>", "/cron/<name>", "/kinds", "/workers",
    "/limits", "/audit", "/errors", "/system", "/tail",
)  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [*WALKED, *(pytest.param(each, marks=pytest.mark.long) for each in ALSO_WALKED)],
)
def test_P09_D17_tab_goes_through_a_page_and_shows_where_it_is(
    page: Page, site: Site, path: str
) -> None:
    page.goto(site.url(path))
    assert page.locator("[tabindex]:not([tabindex='0'], [tabindex='-1'])").count() == 0
    page.keyboard.press("Tab")
    assert probes.focused(page)["name"] == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"

    hidden, walked = [], 0
    page.reload()
    for _ in range(400):
        page.keyboard.press("Tab")
        at = probes.focused(page)
        if at["tag"] == "body":
            break
        walked += 1
        if not at["isSeen"]:
            hidden.append(at["name"])
    else:
        pytest.fail(f"Tab does not leave the page, but is at {at}")
    assert walked > 20
    assert hidden == []


def test_P09_menus_and_the_help_open_and_close_by_keys(page: Page, site: Site) -> None:
    page.goto(site.url("/jobs"))
    for name in ("Export", "More filters"):
        probes.reach(page, name)
        page.keyboard.press("Enter")
        menu = page.locator("details[open]")
        expect(menu).to_have_count(1)
        assert probes.scan(page, "details[open]") == []
        page.keyboard.press("Tab")
        page.keyboard.press("Escape")
        expect(menu).to_have_count(0)
        assert probes.focused(page)["name"] == name
    page.keyboard.press("?")
    check_dialog(page)
    for key, path in (("j", "/jobs"), ("s", "/scheduled"), ("r", "/retries"),
                      ("d", "/dead"), ("c", "/cron"), ("q", "/queues"),
                      ("w", "/workers"), ("o", "/")):  # fmt: skip
        page.keyboard.press("g")
        page.keyboard.press(key)
        page.wait_for_url(site.url(path))
