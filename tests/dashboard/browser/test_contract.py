"""What every page has or does, looked at on a site with something in every state."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Never

import pytest
from playwright.sync_api import Browser, Page, Request, Response, expect

from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.storage.executor import StoreExecutor
from tests.dashboard.browser import probes
from tests.dashboard.browser.counterparts import COUNTERPARTS
from tests.dashboard.browser.sites import Site, read_anew
from tests.support.browser import Theme, complaints_of, lent_tab, tab

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
    with lent_tab(browser, site.headers["admin"]) as opened:
        yield opened


@pytest.fixture
def own_page(browser: Browser, site: Site) -> Iterator[Page]:
    """Another one, whose clock a test may move."""
    with tab(browser, extra_http_headers=site.headers["admin"]) as opened:
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


@pytest.mark.parametrize(
    "path",
    [
        each if each == "/queues" else pytest.param(each, marks=pytest.mark.long)
        for each in DIALOGS
    ],
)
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

# Those that refreshed themselves at a pace of their own, or asked once for each queue,
# come first.
PACED = ("/queues",)
OTHERS = (
    "/", "/retries",
    "/scheduled", "/cron", "/kinds", "/jobs", "/dead", "/workers", "/limits", "/audit",
    "/tail", "/errors", "/queues/<name>", "/cron/<name>", "/jobs/<job_id>", "/bulk",
)  # fmt: skip


@pytest.mark.parametrize(
    "path", [*PACED, *(pytest.param(each, marks=pytest.mark.long) for each in OTHERS)]
)
def test_P11_D08_D27_the_pace_is_that_of_every_page_and_each_asks_once(
    own_page: Page, site: Site, path: str
) -> None:
    page = own_page
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

WALKED = ("/jobs?queue=work",)
ALSO_WALKED = (
    "/queues?q=work",
    "/", "/cron?q=mail", "/jobs/<job_id>", "/queues/<name>", "/cron/<name>", "/kinds",
    "/workers", "/limits", "/audit", "/errors", "/system", "/tail",
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


# Arrows walk around the end of a menu; in a field they are the field's own.
MENUS = {
    "Export": (
        ("ArrowDown", "CSV"), ("ArrowDown", "JSON"), ("ArrowDown", "Export"),
        ("ArrowUp", "JSON"), ("Home", "Export"), ("End", "JSON"),
    ),
    "More filters": (
        ("Tab", "Queue"), ("End", "Queue"), ("Tab", "Kind"), ("Shift+Tab", "Queue"),
        ("Shift+Tab", "More filters"), ("ArrowUp", "Add filters"),
    ),
}  # fmt: skip


def test_P09_menus_and_the_help_open_and_close_by_keys(page: Page, site: Site) -> None:
    page.goto(site.url("/jobs"))
    for name, steps in MENUS.items():
        probes.reach(page, name)
        page.keyboard.press("Enter")
        menu = page.locator("details[open]")
        expect(menu).to_have_count(1)
        assert probes.scan(page, "details[open]") == []
        for key, place in steps:
            page.keyboard.press(key)
            assert probes.focused(page)["name"] == place
        page.keyboard.press("Escape")
        expect(menu).to_have_count(0)
        assert probes.focused(page)["name"] == name
    page.keyboard.press("?")
    check_dialog(page)
    # Each leads to another address, so that its page is waited for.
    for key, path in (("s", "/scheduled"), ("r", "/retries"), ("d", "/dead"),
                      ("c", "/cron"), ("q", "/queues"), ("w", "/workers"),
                      ("j", "/jobs"), ("o", "/")):  # fmt: skip
        page.keyboard.press("g")
        page.keyboard.press(key)
        page.wait_for_url(site.url(path))


# -- pages beside the work ---------------------------------------------------------

NO_JOB = "01J9ZK3V5Q8Y4N2M7T6R1W0XCB"
# Who asks for what, and the status of the answer.
BESIDE = (
    ("stranger", "/v1/job-status/<token>", 200), ("stranger", "/jobs", 401),
    ("viewer", "/audit", 403), ("viewer", f"/jobs/{NO_JOB}", 404),
)  # fmt: skip
ALSO_BESIDE = (
    ("stranger", "/sign-in", 200), ("stranger", "/v1/job-status/x", 404),
    ("stranger", "/nothing", 404), ("stranger", "/do/post/v1/queues", 405),
    ("limited", "/queues/work", 403), ("admin", "/nothing/at/all", 404),
    ("admin", "/queues/nothing", 404), ("admin", "/cron/nothing", 404),
    ("admin", "/workers/nothing", 404), ("admin", "/bulk/nothing", 404),
    ("admin", "/jobs?queue=nothing", 200), ("admin", "/find?q=nothing", 200),
)  # fmt: skip
_SHEETS = "[...document.styleSheets].map(each => new URL(each.href).pathname)"


@pytest.mark.parametrize(
    ("theme", "beside"),
    [
        ("light", BESIDE),
        pytest.param("light", ALSO_BESIDE, marks=pytest.mark.long),
        pytest.param("dark", BESIDE + ALSO_BESIDE, marks=pytest.mark.long),
    ],
)
def test_P09_P10_pages_of_errors_and_strangers_are_sound_and_look_alike(
    browser: Browser,
    site: Site,
    theme: Theme,
    beside: tuple[tuple[str, str, int], ...],
) -> None:
    with tab(browser, width=360, theme=theme) as page:
        complaints = complaints_of(page)
        for caller, path, status in beside:
            page.set_extra_http_headers(dict(site.headers.get(caller, {})))
            answer = page.goto(site.url(path))
            assert answer is not None
            check_beside(page, answer, status)
            # The browser says so of each status of an error.
            assert [e for e in complaints if "the server responded" not in e] == []


def test_P09_P14_a_refused_form_and_an_absent_database_are_sound_pages(
    page: Page, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.set_viewport_size({"width": 360, "height": 800})
    page.goto(site.url("/queues/<name>"))
    with page.expect_navigation() as refused:
        page.evaluate("""() => {
          const form = document.querySelector("form[action*='/v1/queues/']");
          form.elements._token.value = "x";
          form.submit();
        }""")
    check_beside(page, refused.value, 403)

    def away(*_: object, **__: object) -> Never:
        raise StorageUnavailableError

    monkeypatch.setattr(StoreExecutor, "read", away)
    monkeypatch.setattr(StoreExecutor, "read_one", away)
    read_anew(monkeypatch)
    answer = page.goto(site.url("/queues"))
    assert answer is not None
    check_beside(page, answer, 503)


def check_beside(page: Page, answer: Response, status: int) -> None:
    """Check a page that is none of those in the navigation."""
    assert answer.status == status, answer.url
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert probes.facts_of(page) == probes.SOUND, answer.url
    assert probes.too_wide(page) == [], answer.url
    assert probes.scan(page) == [], answer.url
    (sheet,) = page.evaluate(_SHEETS)
    assert sheet.endswith("/static/dashboard.css")
    if status >= 400:
        expect(page.locator("h1")).not_to_be_empty()


# -- hostile texts -----------------------------------------------------------------

# Pages that show what a stranger has named or written.
TELLING = (
    "/jobs", "/retries", "/errors", "/queues", "/cron", "/workers", "/limits",
    "/audit", "/bulk/<run_id>", "/kinds?range=1h",
)  # fmt: skip
_READ = """async addresses => Promise.all(addresses.map(async address => {
  const answer = await fetch(address, {headers: {Accept: "text/html"}});
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return page.querySelector("main").textContent;
}))"""


def test_P05_hostile_texts_can_be_read_as_they_are(page: Page, site: Site) -> None:
    """They are not left out, which would be safe as well."""
    page.goto(site.url("/tail"))
    texts = page.evaluate(_READ, [site.url(path) for path in TELLING])

    for path, text in zip(TELLING, texts, strict=True):
        assert re.search(r"<script>fetch\(\W?/?hit", text), path
    assert "alert" not in page.title()
    expect(page.locator("header.brand")).to_contain_text("<script>fetch('/hit')")


# -- everything that opens ---------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize(
    ("theme", "width"), [("light", 390), ("dark", 390), ("dark", 1280)]
)
def test_P09_everything_that_opens_is_sound_in_every_theme_and_width(
    browser: Browser, site: Site, theme: Theme, width: int
) -> None:
    headers = site.headers["admin"]
    with tab(
        browser, width=width, theme=theme, reduced_motion="reduce",
        extra_http_headers=headers,
    ) as page:  # fmt: skip
        complaints = complaints_of(page)
        for path, asks in DIALOGS.items():
            page.goto(site.url(path))
            for ask in asks:
                page.evaluate(_ASK, f"?ask={ask}")
                check_dialog(page)
            assert probes.too_wide(page) == [], path
        page.keyboard.press("/")
        expect(page.locator(".palette li").first).to_be_visible()
        assert probes.scan(page, "dialog") == []
        tables = "&".join(f"table={name}" for name in ("throughput", "run_time", "cpu"))
        for address in (f"/kinds?{tables}", f"/?{tables}", "/cron?new=1&expr=x",
                        "/limits?new=1", "/limits?edit=gateway",
                        "/queues?edit=mail"):  # fmt: skip
            page.goto(site.url(address))
            assert probes.scan(page) == [], address
            assert probes.too_wide(page) == [], address
        page.goto(site.url("/jobs"))
        for menu in page.locator("details.menu > summary").all():
            menu.click()
            # It lies over what is behind it.
            assert probes.scan(page, "details[open]") == []
            menu.click()
        assert complaints == []


def test_P09_a_table_of_a_chart_is_sound(page: Page, site: Site) -> None:
    page.goto(site.url("/kinds?table=throughput"))
    expect(page.locator("#throughput table")).to_be_visible()
    assert probes.scan(page) == []
