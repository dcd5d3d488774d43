"""Who may change something: nobody without a token, from elsewhere, or as a viewer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page

from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.table import all_routes
from tests.dashboard.browser.filling import SECRET
from tests.dashboard.browser.sites import (
    INSIDE,
    OUTSIDE,
    Site,
    every_page,
    filled,
    running_site,
)
from tests.support.browser import OTHER_HOST, tab
from tests.support.wsgi import served

# Every request that changes something, and those of the pages that do so beside them.
CHANGES = [route for route in all_routes(enable_demo=False) if route.mutates]
OF_PAGES = ("preferences", "views", "sign-in", "sign-out", "jobs", "dead")
# What a viewer sends: how its own browser shows the pages.
OWN_FORMS = ("preferences", "views", "sign-in", "sign-out")
_SEND = """([addresses, type, body, mode]) => Promise.all(addresses.map(
  ([method, address]) => fetch(address, {
    method, mode, body, credentials: "include", headers: {"Content-Type": type},
  }).then(answer => answer.text(), () => "")))"""
# One after the other: a caller may read one long list at a time.
_FORMS = """async addresses => {
  const forms = [];
  for (const address of addresses) {
    const answer = await fetch(address, {headers: {Accept: "text/html"}});
    if (!answer.ok) throw new Error(`${answer.status} of ${address}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    forms.push(
      ...page.querySelectorAll("form[method=post], [href*='ask='], [formaction]"));
  }
  return forms.filter(each => each.id !== "help")
    .map(each => each.getAttribute("action") ?? each.getAttribute("href"));
}"""
_READ = "([url, headers]) => fetch(url, {headers}).then(answer => answer.text())"
FORM, JSON = "application/x-www-form-urlencoded", "application/json"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site that nothing may change in."""
    with running_site(tmp_path_factory.mktemp("guarded")) as made:
        made.fill()
        yield made


def signed_in(page: Page, site: Site, caller: str) -> None:
    """Sign a person in by the page."""
    page.goto(site.url("/sign-in"))
    token = site.headers[caller]["Authorization"].removeprefix("Bearer ")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(site.url("/"))


def token_of(page: Page, site: Site) -> str:
    """Return the token that the forms of this person's pages carry."""
    page.goto(site.url("/sign-out"))
    token = page.locator("main [name=_token]").get_attribute("value")
    assert token
    return token


def sent(
    page: Page,
    site: Site,
    changes: Sequence[tuple[str, str]],
    *,
    kind: str = FORM,
    body: str,
    mode: str = "same-origin",
) -> set[int]:
    """Return the statuses of changes that a script of a page sends.

    One of another site cannot read them; the server knows them.
    """
    site.writes.clear()
    page.evaluate(_SEND, [changes, kind, body, mode])
    assert len(site.writes) == len(changes)
    return set(site.writes)


def forms_of(site: Site, routes: Sequence[Route] = CHANGES) -> list[tuple[str, str]]:
    """Return the addresses of the forms of routes."""
    examples = {"batch_id": "0" * 26, **site.examples, "scope": "gateway"}
    return [
        ("POST", site.url(f"/do/{each.method.lower()}{filled(each.path, examples)}"))
        for each in routes
        if each.path.startswith("/v1/") and not each.is_deprecated
    ]


def test_P06_D05_nothing_is_changed_without_a_token_or_from_elsewhere_or_by_a_viewer(
    browser: Browser, guarded: Site
) -> None:
    site = guarded
    examples = {"batch_id": "0" * 26, **site.examples, "scope": "gateway"}
    programs = [(r.method, site.url(filled(r.path, examples))) for r in CHANGES]
    forms = forms_of(site)
    pages = [("POST", site.url(f"/{name}")) for name in OF_PAGES]
    tokened = [*pages[:2], *pages[-2:]]
    before = counts(site)
    assert len(programs) > 50
    assert len(forms) > 20

    with tab(browser) as page:
        page.goto(site.url("/sign-in"))
        # A stranger.
        assert sent(page, site, programs, kind=JSON, body="{}") == {401}
        assert sent(page, site, [*forms, *tokened], body="a=b") <= {401, 403}

        # An admin, without the token of a page, and with somebody else's.
        signed_in(page, site, "admin")
        token = token_of(page, site)
        assert sent(page, site, programs, kind=JSON, body="{}") <= {401, 403}
        for body in ("a=b", f"_token={'0' * len(token)}"):
            assert sent(page, site, [*forms, *tokened], body=body) == {403}

        # Another site, by this admin's browser, which even knows the token. It shares
        # the host with ours, so that the browser sends the cookies along.
        with served(Flask("elsewhere")) as port:
            page.goto(f"http://127.0.0.1:{port}/")
            body = f"_token={token}&back=x&_back=x"
            sites = [*forms, *pages]
            assert sent(page, site, sites, body=body, mode="no-cors") == {403}

        # A viewer, with the token of its own pages.
        page.context.clear_cookies()
        signed_in(page, site, "viewer")
        token = token_of(page, site)
        assert sent(page, site, forms, body=f"_token={token}") == {403}
    assert counts(site) == before


def test_S14_over_plain_http_forms_of_our_pages_work_and_those_of_others_do_not(
    browser: Browser, guarded: Site
) -> None:
    """There, a browser names nothing but the origin of a form's page."""
    site = replace(guarded, host=OTHER_HOST)
    with tab(browser, java_script_enabled=False) as page:
        signed_in(page, site, "operator")
        page.locator("button[name=theme]").first.click()
        page.wait_for_url(site.url("/"))
        assert page.locator("html").get_attribute("data-theme") == "light"
        token = token_of(page, site)
        known = page.context.storage_state()
    with tab(browser, storage_state=known) as page, served(Flask("x")) as port:
        page.goto(f"http://{OTHER_HOST}:{port}/")
        body = f"_token={token}&back=x&_back=x"
        assert sent(page, site, forms_of(site), body=body, mode="no-cors") == {403}


def counts(site: Site) -> tuple[object, ...]:
    """Return what a change would change."""
    storage = site.storage
    return (
        {name: each.counts for name, each in storage.job_reader.statistics().items()},
        storage.queues.all(),
        storage.cron.all(),
    )


def test_P07_D05_a_viewer_is_offered_nothing_and_reads_no_secret(
    browser: Browser, guarded: Site
) -> None:
    """Neither a form, nor a link to a question, nor a button for the demo."""
    site = guarded
    paths = [site.url(path) for path in every_page() if path != "/audit"]
    with tab(browser, extra_http_headers=site.headers["viewer"]) as page:
        page.goto(site.url("/queues"))
        offered = {urlsplit(each).path.rpartition("/")[2] for each in
                   page.evaluate(_FORMS, paths)}  # fmt: skip
        assert offered <= set(OWN_FORMS)
        for path in ("/jobs.csv", "/jobs.json", "/v1/jobs", "/jobs?only=rows"):
            text = page.evaluate(_READ, [site.url(path), site.headers["admin"]])
            assert "charge_card" in text
            assert SECRET not in text
    with tab(browser) as page:
        answer = page.goto(f"http://127.0.0.1:{site.port}{OUTSIDE}{INSIDE}/jobs")
        assert answer is not None
        assert answer.status == 401
        assert "charge_card" not in page.content()
