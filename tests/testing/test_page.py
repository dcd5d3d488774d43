"""The examples of the page on testing and of the README, run as they stand."""

from __future__ import annotations

import re
import textwrap
from collections import defaultdict
from pathlib import Path

from tests.examples.test_ten_lines import PROGRAM, TEST
from tests.testing.test_plugin import run_pytest

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "test.rst"
BLOCK = re.compile(
    r"^\.\. code-block:: python\n(.*\n)\n((?:   .*\n|\n)+)", re.MULTILINE
)
CAPTION = re.compile(r" +:caption: (\w+\.py)\n")


def test_every_example_runs(tmp_path: Path) -> None:
    files: defaultdict[str, list[str]] = defaultdict(list)
    blocks = BLOCK.findall(PAGE.read_text("utf-8"))
    for options, text in blocks:
        caption = CAPTION.fullmatch(options)
        assert caption is not None, text
        files[caption[1]].append(textwrap.dedent(text))
    assert len(blocks) == PAGE.read_text("utf-8").count(".. code-block:: python")
    files["app.py"], files["test_app.py"] = [PROGRAM], [TEST]
    for name, texts in files.items():
        (tmp_path / name).write_text("\n\n".join(texts), encoding="utf-8")

    status, text = run_pytest(tmp_path, "-W", "error")

    tests = sum(block.count("def test_") for texts in files.values() for block in texts)
    assert status == 0, text
    assert f" {tests} passed" in text
