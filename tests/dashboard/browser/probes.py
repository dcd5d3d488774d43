"""Questions about an open page, as JavaScript, and a scan by axe-core."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import pytest
from playwright.sync_api import Page

# WCAG 2.2 AA and good practice; without the tags some rules, such as the size of
# targets, do not run.
_TAGS = (
    "wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice",
)  # fmt: skip
_SCAN = """async ([part, tags]) => {
  const found = await axe.run(part, {runOnly: tags, resultTypes: ["violations"]});
  return found.violations.flatMap(rule => rule.nodes.map(node =>
    `${rule.id}: ${node.target.join(" ")}: ` +
    [...node.any, ...node.all, ...node.none].map(each => each.message).join("; ")));
}"""
# The elements that lie outside of the window, if it scrolls sideways.
_TOO_WIDE = """() => {
  const root = document.documentElement, right = innerWidth;
  if (root.scrollWidth <= right) return [];
  return [...document.querySelectorAll("body *")]
    .filter(each => each.getBoundingClientRect().right > right + 1)
    .map(each => `${right}: ${each.tagName}.${each.getAttribute("class")} ` +
      each.textContent.trim().slice(0, 30)).slice(-5).concat(`${right}: too wide`);
}"""
# What the keyboard reaches and does not show it.
_UNSEEN_FOCUS = """() => {
  const reached = "a[href], button, input, select, textarea, summary, [tabindex='0']";
  return [...document.querySelectorAll(reached)].filter(each => {
    each.focus(); // has no effect on what is disabled or hidden
    if (document.activeElement !== each) return false;
    const style = getComputedStyle(each), box = each.getBoundingClientRect();
    const ring = style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth);
    return ring < 2 || !box.width;
  }).map(each => `${each.tagName} ${each.getAttribute("class")} ` +
    each.textContent.trim().slice(0, 40));
}"""
# Where the keyboard is: the name, and whether one sees it there.
_FOCUSED = """() => {
  const at = document.activeElement, box = at.getBoundingClientRect();
  const style = getComputedStyle(at);
  const ring = style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth);
  // Near its start: the end of a long name is cut.
  const place = box.left + Math.min(box.width, 12) / 2;
  const shown = document.elementFromPoint(place, box.top + box.height / 2);
  return {
    name: (at.getAttribute("aria-label") || at.labels?.[0]?.querySelector("span,b")
      ?.textContent || at.textContent || at.name || "").trim().slice(0, 60),
    tag: at.localName,
    // Chromium marks the parts of a date itself.
    isSeen: at.matches("body, [type=datetime-local]") || ring >= 2 &&
      (at.contains(shown) || shown?.contains(at) ||
      !!at.closest("label")?.contains(shown)),
  };
}"""
_FACTS = """() => ({
  lang: document.documentElement.lang,
  headings: document.querySelectorAll("h1").length,
  mains: document.querySelectorAll("main").length,
  inline: document.querySelectorAll("[style], style, script:not([src])").length,
  handlers: [...document.querySelectorAll("*")].filter(each =>
    [...each.attributes].some(a => a.name.startsWith("on"))).length,
  unproven: [...document.querySelectorAll("form[method=post]")].filter(each =>
    !each.elements._token).length,
  strange: [...document.querySelectorAll("a[href], form[action]")]
    .map(each => each.getAttribute("href") ?? each.getAttribute("action"))
    .filter(address => !/^https?:$/.test(new URL(address, location).protocol)).length,
})"""
SOUND = {
    "lang": "en", "headings": 1, "mains": 1, "inline": 0, "handlers": 0, "unproven": 0,
    "strange": 0,
}  # fmt: skip
_MOVING = """() => document.getAnimations()
  .filter(each => each.effect.getComputedTiming().duration > 1)
  .map(each => each.effect.target.outerHTML.slice(0, 80))"""
# Icons are masks: without a forced colour they are as invisible as the page behind.
_LOST_MARKS = """() => [...document.querySelectorAll("body, body *")].flatMap(each =>
  ["", "::before", "::after"].filter(part => {
    const style = getComputedStyle(each, part || null);
    const isMask = style.maskImage !== "none" && (!part || style.content !== "none");
    return isMask && style.backgroundColor === getComputedStyle(document.body)
      .backgroundColor;
  }).map(part => `${each.tagName}.${each.getAttribute("class")}${part}`))"""


@cache
def _axe() -> str:
    return files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")


def scan(page: Page, part: str = "html") -> list[str]:
    """Return what axe-core finds wrong with a page, or a part of it, as it is now."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(_axe())
    found: list[str] = page.evaluate(_SCAN, [part, list(_TAGS)])
    return found


def facts_of(page: Page) -> dict[str, Any]:
    """Return what should be :data:`SOUND`."""
    found: dict[str, Any] = page.evaluate(_FACTS)
    return found


def too_wide(page: Page) -> list[str]:
    """Return what makes a page scroll sideways."""
    found: list[str] = page.evaluate(_TOO_WIDE)
    return found


def unseen_focus(page: Page) -> list[str]:
    """Return what shows no ring when the keyboard has reached it."""
    page.keyboard.press("Tab")  # from now on a focus is the keyboard's
    found: list[str] = page.evaluate(_UNSEEN_FOCUS)
    return found


def focused(page: Page) -> dict[str, Any]:
    """Return the name and the tag of what has the focus, and whether one sees it."""
    found: dict[str, Any] = page.evaluate(_FOCUSED)
    return found


def reach(page: Page, name: str, most: int = 150) -> None:
    """Press Tab until something of this name has the focus."""
    passed = []
    for _ in range(most):
        page.keyboard.press("Tab")
        at = focused(page)
        if at["name"] == name:
            return
        passed.append(at["name"])
    pytest.fail(f"{name!r} is not reached, but {passed}")


def moving(page: Page) -> list[str]:
    """Return what moves."""
    found: list[str] = page.evaluate(_MOVING)
    return found


def lost_marks(page: Page) -> list[str]:
    """Return the masks that have the colour of the page."""
    found: list[str] = page.evaluate(_LOST_MARKS)
    return found
