"""The examples of pages with tests of their own and of the README, as they stand."""

from __future__ import annotations

import re
import textwrap
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.test_ten_lines import PROGRAM, TEST
from tests.support.backends import long
from tests.support.pytest_runs import PytestRuns, pytest_runs

HOWTO = Path(__file__).parents[2] / "docs" / "howto"
BLOCK = re.compile(
    r"^\.\. code-block:: python\n(.*\n)\n((?:   .*\n|\n)+)", re.MULTILINE
)
CAPTION = re.compile(r" +:caption: ([\w/]+\.py)\n")


@pytest.fixture(scope="module")
def runs() -> Iterator[PytestRuns]:
    """Runs of pytest that find everything loaded."""
    with pytest_runs() as started:
        yield started


@pytest.mark.parametrize(
    "page", [long("arguments.rst"), long("factory.rst"), "retry.rst", "test.rst"]
)
def test_every_example_runs(tmp_path: Path, page: str, runs: PytestRuns) -> None:
    files: defaultdict[str, list[str]] = defaultdict(list)
    whole = (HOWTO / page).read_text("utf-8")
    blocks = BLOCK.findall(whole)
    for options, text in blocks:
        caption = CAPTION.fullmatch(options)
        assert caption is not None, text
        files[caption[1]].append(textwrap.dedent(text))
    assert len(blocks) == whole.count(".. code-block:: python")
    if "app.py" not in files:
        files["app.py"], files["test_app.py"] = [PROGRAM], [TEST]
    for name, texts in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("\n\n".join(texts), encoding="utf-8")

    status, text = runs.run(tmp_path, "-W", "error")

    tests = sum(block.count("def test_") for texts in files.values() for block in texts)
    assert status == 0, text
    assert f" {tests} passed" in text
