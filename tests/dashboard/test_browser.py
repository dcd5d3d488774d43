"""The pages in a real browser: both themes, phone and desk, policy, contrast, keys."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, Response
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import WSGIRequestHandler, make_server

from flask_forge_jobs.auth.tokens import TokenSet, new_token
from flask_forge_jobs.blueprint import BlueprintOptions, create_blueprint
from flask_forge_jobs.dashboard.page import PAGE_POLICY
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import Storage
from tests.support.backends import on_sqlite
from tests.support.devtools import Tab, running_tab

WIDTHS = (360, 390, 640, 1280, 1920)
TEXT_CONTRAST, EDGE_CONTRAST = 4.5, 3.0
TARGET_PX = 24
# Each text's contrast with what is behind it, the lowest first.
CONTRASTS = """(() => {
const parts = text => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
  .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
const behind = element => {
  for (let each = element; each; each = each.parentElement) {
    const colour = parts(getComputedStyle(each).backgroundColor);
    if (colour.length === 3) return colour;
    if (colour[3] !== 0) return colour;
  }
  return [255, 255, 255];
};
const found = [];
for (const each of document.querySelectorAll("body *")) {
  const hasText = [...each.childNodes].some(n => n.nodeType === 3 && n.data.trim());
  if (!hasText && each.tagName !== "svg") continue;
  const [a, b] = [parts(getComputedStyle(each).color), behind(each)].map(light);
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  found.push([ratio, each.tagName, each.textContent.trim().slice(0, 40)]);
}
return found.sort((a, b) => a[0] - b[0]);
})()"""
SHAPE = """({
  width: document.documentElement.scrollWidth, window: innerWidth,
  lang: document.documentElement.lang, title: document.title,
  headings: document.querySelectorAll("h1").length,
  landmarks: ["header", "main"].map(n => document.querySelectorAll(n).length),
  scripts: document.scripts.length,
  styled: document.querySelectorAll("[style], style").length,
  back: getComputedStyle(document.body).backgroundColor,
  small: [...document.querySelectorAll("a:not(.skip)")]
    .filter(a => a.getBoundingClientRect().height < TARGET).map(a => a.textContent),
  names: [...document.querySelectorAll("[aria-labelledby]")]
    .map(e => document.getElementById(e.getAttribute("aria-labelledby")))
    .filter(e => !e).length,
})""".replace("TARGET", str(TARGET_PX))
FOCUS = """(() => {
  const each = document.activeElement, style = getComputedStyle(each);
  const box = each.getBoundingClientRect();
  return [each.tagName, each.textContent.trim(), style.outlineStyle,
    parseFloat(style.outlineWidth), box.left >= 0 && box.width > 0];
})()"""


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with running_tab(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def token() -> tuple[str, str]:
    return new_token("grafana")


@pytest.fixture
def address(storage: Storage, token: tuple[str, str]) -> Iterator[str]:
    """The mount point, in an application below a prefix, with work to show."""
    storage.jobs.enqueue_many([NewJob("send", queue_name="mail")] * 1214)
    storage.workers.beat("worker-1", None, ["mail"], [])
    entry = {"id": "grafana", "sha256": token[1], "role": "viewer"}
    options = BlueprintOptions(tokens=TokenSet.from_config([entry]))
    app = Flask("host")
    app.register_blueprint(
        create_blueprint(storage, options=options), url_prefix="/jobs"
    )

    @app.get("/against-the-policy")
    def against_the_policy() -> Response:
        html = "<!doctype html><p style='color: red'>red</p><script>1</script>"
        return Response(html, headers={"Content-Security-Policy": PAGE_POLICY})

    below = DispatcherMiddleware(Flask("outer"), {"/tools": app})
    server = make_server("127.0.0.1", 0, below, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}/tools/jobs"
    server.shutdown()
    thread.join()
    server.server_close()


def headers_of(token: tuple[str, str], *, is_known: bool) -> dict[str, str]:
    return {"Authorization": f"Bearer {token[0]}"} if is_known else {}


@on_sqlite
@pytest.mark.parametrize("is_known", [True, False], ids=["caller", "stranger"])
def test_P09_P10_every_width_and_theme(
    tab: Tab, address: str, token: tuple[str, str], *, is_known: bool
) -> None:
    headers = headers_of(token, is_known=is_known)
    backs = set()
    for width in WIDTHS:
        for dark in (False, True):
            tab.open(address, headers, width=width, dark=dark)
            seen = tab.evaluate(SHAPE)
            backs.add(seen.pop("back"))
            assert seen.pop("width") <= seen.pop("window"), width
            title = "Healthy" if is_known else "Background jobs"
            assert seen == {
                "lang": "en", "title": f"{title} · Forge Jobs", "headings": 1,
                "landmarks": [1, 1], "scripts": 0, "styled": 0, "small": [],
                "names": 0,
            }  # fmt: skip
            for ratio, tag, text in tab.evaluate(CONTRASTS):
                least = EDGE_CONTRAST if tag == "svg" else TEXT_CONTRAST
                assert ratio >= least, (dark, tag, text)
            assert tab.complaints == []
    # The style sheet was loaded, and each theme is one of its own.
    assert len(backs) == 2
    assert not backs & {"rgba(0, 0, 0, 0)", "rgb(255, 255, 255)"}


@on_sqlite
def test_P09_every_link_is_reached_by_the_keyboard_and_shows_it(
    tab: Tab, address: str, token: tuple[str, str]
) -> None:
    tab.open(f"{address}/", headers_of(token, is_known=True))
    links = tab.evaluate("document.querySelectorAll('a').length")

    reached = []
    for _ in range(links):
        tab.press("Tab")
        tag, text, style, width, is_seen = tab.evaluate(FOCUS)
        assert (tag, style, is_seen) == ("A", "solid", True), text
        assert width >= 2
        reached.append(text)

    assert reached[:2] == ["Skip to content", "Forge Jobs"]
    assert len(set(reached)) == links > 15


@on_sqlite
def test_sec_S17_a_breach_of_the_policy_is_seen(tab: Tab, address: str) -> None:
    """Without this the tests above might see none because they look wrongly."""
    tab.open(address.replace("/jobs", "/against-the-policy"))

    assert len([each for each in tab.complaints if "Content Security" in each]) >= 2


@on_sqlite
def test_low_contrast_is_seen(tab: Tab, address: str) -> None:
    """As above."""
    tab.open(address)
    tab.evaluate("document.querySelector('h1').style.color = '#999'")

    lowest = tab.evaluate(CONTRASTS)[0]

    assert lowest[0] < TEXT_CONTRAST
    assert lowest[1] == "H1"
