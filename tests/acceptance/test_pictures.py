"""The short form of the command: a picture of every page in every state."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.pictures import (
    THEMES,
    WIDTHS,
    Photographer,
    run,
    slug,
    take_small,
)
from tests.dashboard.browser.sites import every_page
from tests.support.browser import running_browser

ROWS, REPEATS = 2_000, 2
SCENES = (
    "full", "viewer", "limited", "stranger", "strange", "empty", "away", "many",
)  # fmt: skip


@pytest.mark.long
def test_every_page_is_measured_and_has_its_pictures(tmp_path: Path) -> None:
    # The limits of time are those of a machine without other work.
    with running_browser() as browser:
        photographer = Photographer(browser, tmp_path)
        take_small(photographer)
        text, _ = run(photographer, "sqlite", ROWS, REPEATS)

    assert all(path in text for path in every_page())
    for scene in SCENES:
        taken = {each.stem for each in (tmp_path / scene).iterdir()}
        for page in map(slug, every_page()):
            looks = {f"{page}-{w}-{theme}" for w in WIDTHS for theme in THEMES}
            assert looks <= taken, scene
