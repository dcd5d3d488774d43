"""The operations cookbook: each command prints what the page shows.

Ids, times and durations differ from run to run. An id of the page stands for the one
that an earlier command of the recipe printed in its place.
"""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.operations import RECIPES, Shop

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "operate.rst"
SECTION = re.compile(
    r"^\.\. _([a-z-]+):\n\n(.*?)(?=^\.\. _|\Z)", re.MULTILINE | re.DOTALL
)
CONSOLE = re.compile(r"\.\. code-block:: console\n\n((?:   .*\n|\n)+)")
PROMPT = "$ flask forge-jobs "
# Explanations print it; it would run until it is stopped.
PRINTED = f"{PROMPT}worker "
ID = re.compile(r"\b01[0-9A-HJKMNP-TV-Z]{24}\b")
CHANGING = (
    # The width of the other columns decides where a cell is cut.
    (re.compile(r"(?<=  )(\S+)( \S+)* ?…"), r"\1…"),
    (ID, "ID"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?"), "TIME"),
    (re.compile(r"(less than |<)?\d+(\.\d+)?(ms|s|m|h|d)\b( \d+(m|h)\b)?"), "SPAN"),
    (re.compile(r"File \".*\", line \d+"), "LINE"),
    (re.compile(r"command:\w+"), "USER"),
    (re.compile(r"\S+ +\d+ +(?=\d+\.\d+\.\d+ )"), "HOST PID "),
    (re.compile(r"\s+"), " "),
)


def steps(recipe: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the commands of a recipe with the lines below each."""
    text = dict(SECTION.findall(PAGE.read_text("utf-8")))[recipe]
    for block in CONSOLE.findall(text):
        command, lines = "", list[str]()
        for line in textwrap.dedent(block).splitlines():
            if line.startswith(PROMPT) and not line.startswith(PRINTED):
                if command:
                    yield command, lines
                command, lines = line.removeprefix(PROMPT), []
            elif line:
                lines.append(line)
        if command:
            yield command, lines


def plain(line: str) -> str:
    for pattern, word in CHANGING:
        line = pattern.sub(word, line)
    return line.strip()


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_prints_what_the_page_shows(recipe: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    shop = Shop(tmp_path)
    ids: dict[str, str] = {}
    with RECIPES[recipe](shop):
        for command, expected in steps(recipe):
            words = [ids.get(word, word) for word in shlex.split(command)]
            output = shop.run(*words, COLUMNS="110").output
            printed = [line for line in output.splitlines() if line]

            assert [plain(line) for line in printed] == list(map(plain, expected)), (
                command
            )
            ids |= zip(
                ID.findall("\n".join(expected)),
                ID.findall("\n".join(printed)),
                strict=True,
            )
    shop.storage.close()


def test_every_recipe_with_commands_is_run() -> None:
    labels = {
        label
        for label, text in SECTION.findall(PAGE.read_text("utf-8"))
        if PROMPT in text
    }

    assert labels == set(RECIPES)
