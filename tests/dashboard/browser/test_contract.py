"""What every page has or does, looked at on a site with something in every state."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

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
