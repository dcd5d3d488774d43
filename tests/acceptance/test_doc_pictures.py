"""The pictures of the documentation: of every page in both themes, and small."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.doc_pictures import LONGEST, PATHS, THEMES, take
from tests.support.browser import running_browser


@pytest.mark.long
def test_the_pictures_of_the_documentation_are_taken(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    with running_browser() as browser:
        take(browser, folder, tmp_path)

    taken = {each.name: each.read_bytes() for each in folder.iterdir()}
    assert set(taken) == {f"{name}-{theme}.webp" for name in PATHS for theme in THEMES}
    for name, content in taken.items():
        assert content[8:12] == b"WEBP", name
        assert 20_000 < len(content) <= LONGEST, name
