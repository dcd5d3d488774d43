"""The blocks of the manual: programs, command lines, and what these print."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(
    r"""
    ^(?P<indent>\ *)
    (?:
        \.\.\ (?P<directive>code-block|doctest|literalinclude)::\ *(?P<word>\S*)\n
        (?P<options>(?:\ *:[a-z-]+:.*\n)*)
        |
        (?!\.\.\ )(?:\S.*[^:\n])?::\n
    )
    (?P<text>(?:\n|(?P=indent)\ +.*\n)*)
    """,
    re.MULTILINE | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Block:
    """A literal part of a page.

    Args:
        page: The page, below the folder of the manual.
        language: As the page names it; ``doctest``, or empty for a plain one.
        caption: The file that it is a part of, or empty.
        text: Its lines, without the indent.
    """

    page: str
    language: str
    caption: str
    text: str

    @property
    def lines(self) -> list[str]:
        """The lines that are not empty."""
        return [line for line in self.text.splitlines() if line.strip()]

    @property
    def commands(self) -> list[str]:
        """The command lines of a console, continued lines joined."""
        joined = self.text.replace("\\\n", " ")
        return re.findall(r"^[$#] (.+)$", joined, re.MULTILINE)


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page, from the top."""
    for match in _BLOCK.finditer(page.read_text("utf-8")):
        if not match["text"].strip() and match["directive"] != "literalinclude":
            continue
        caption = re.search(r":caption: (.+)", match["options"] or "")
        text, language = match["text"], match["word"] or match["directive"] or ""
        if match["directive"] == "literalinclude":
            text, language = (
                (page.parent / match["word"]).read_text("utf-8"),
                "included",
            )
        yield Block(
            page=page.relative_to(DOCS).as_posix(),
            language=language,
            caption=caption[1] if caption else "",
            text=textwrap.dedent(text).strip("\n"),
        )


PAGES = sorted(DOCS.rglob("*.rst"))
BLOCKS = [block for page in PAGES for block in blocks(page)]


def block(page: str, language: str, number: int = 0) -> Block:
    """Return a block of a page by its language."""
    found = [each for each in BLOCKS if (each.page, each.language) == (page, language)]
    return found[number]
