"""The short form of the command: a picture of every page in every state."""

from __future__ import annotations

from pathlib import Path

import pytest

from flask_forge_jobs.api.addresses import PLACEHOLDER
from tests.acceptance.pictures import (
    ABSENT,
    THEMES,
    WIDTHS,
    Photographer,
    slug,
    take_large,
    take_small,
)
from tests.dashboard.browser.sites import every_page
from tests.support.browser import running_browser

ROWS = 2_000
SCENES = (
    "full", "viewer", "limited", "stranger", "strange", "empty", "away", "many",
)  # fmt: skip


def test_each_placeholder_of_a_page_has_a_value_without_jobs() -> None:
    paths = " ".join(every_page())

    names = {found["name"] for found in PLACEHOLDER.finditer(paths)}

    # The token follows from the job.
    assert names == {*ABSENT, "token"}


@pytest.mark.long
def test_every_page_has_its_pictures(tmp_path: Path) -> None:
    with running_browser() as browser:
        photographer = Photographer(browser, tmp_path)
        take_small(photographer)
        take_large(photographer, "sqlite", ROWS)

    for scene in SCENES:
        taken = {each.stem for each in (tmp_path / scene).iterdir()}
        for page in map(slug, every_page()):
            looks = {f"{page}-{w}-{theme}" for w in WIDTHS for theme in THEMES}
            assert looks <= taken, scene
