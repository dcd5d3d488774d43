"""P-05 without a browser: the whole corpus on every page, and in every parameter."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import quote

import pytest

from tests.dashboard.browser.filling import OPTIONS, hostile
from tests.dashboard.browser.sites import Site, every_page, running_site

# Elements that only a stranger would put on a page of ours.
NEVER = {
    "iframe", "object", "embed", "style", "base", "video", "source", "math", "template",
    "mtext", "xss", "scr<script",
}  # fmt: skip
LINKS = {"href", "src", "action", "formaction"}
PERSON = {"Accept": "text/html"}


class Found(HTMLParser):
    """Notes what runs, or could."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the element."""
        given = dict(attrs)
        is_ours = tag == "template" and given == {"id": "parts"}
        if (tag in NEVER and not is_ours) or (
            tag == "script" and "static/" not in (given.get("src") or "")
        ):
            self.wrong.append(tag)
        for name, value in attrs:
            scheme = (value or "").strip().partition(":")[0].lower()
            if name.startswith("on") or name == "style":
                self.wrong.append(f"{tag} {name}")
            if name in LINKS and scheme in {"javascript", "data", "vbscript"}:
                self.wrong.append(f"{tag} {name}={value}")


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site where every string of the corpus stands wherever a text may."""
    with running_site(tmp_path_factory.mktemp("strange"), **OPTIONS) as made:
        made.fill(*hostile())
        yield made


def wrong_with(site: Site, path: str) -> list[str]:
    """Return what runs on a page."""
    headers = {**site.headers["admin"], **PERSON}
    answer = site.app.test_client().get(site.filled(path), headers=headers)
    assert answer.status_code < 500, path
    found = Found()
    found.feed(answer.text)
    return found.wrong


@pytest.mark.parametrize("path", every_page())
def test_P05_no_string_of_the_corpus_is_an_element(strange: Site, path: str) -> None:
    assert wrong_with(strange, path) == []


@pytest.mark.parametrize("path", every_page())
def test_P05_no_parameter_is_an_element(strange: Site, path: str) -> None:
    evil = quote("\"><script>fetch(1)</script>'onfocus=x")
    names = ("q", "queue", "kind", "status", "error", "from", "range", "cursor", "ask",
             "only", "sort", "back", "job", "signature", "host", "view")  # fmt: skip

    asked = "&".join(f"{name}={evil}" for name in names)

    assert wrong_with(strange, f"{path}?{asked}") == []


def test_what_runs_is_found() -> None:
    """Without this the tests above might find nothing because they look wrongly."""
    for text in ("<script>1</script>", "<iframe>", "<p onclick=x>", "<p style=x>",
                 "<a href=' javascript:1'>", "<a href=data:x>"):  # fmt: skip
        found = Found()
        found.feed(text)
        assert found.wrong, text
