"""The files that the page on results tells its reader to write."""

from __future__ import annotations

import re
import textwrap
from collections import defaultdict
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "results.rst"
BLOCK = re.compile(
    r"^\.\. code-block:: (?:python|html)\n +:caption: (\S+)\n\n((?:   .*\n|\n)+)",
    re.MULTILINE,
)


def write_files(folder: Path) -> dict[str, str]:
    """Write every file of the page into a folder; return them by name."""
    text = PAGE.read_text("utf-8")
    blocks = BLOCK.findall(text)
    assert len(blocks) == len(re.findall("code-block:: (?:python|html)", text))
    files: defaultdict[str, list[str]] = defaultdict(list)
    for name, block in blocks:
        files[name].append(textwrap.dedent(block))
    whole = {name: "\n\n".join(texts) for name, texts in files.items()}
    for name, content in whole.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return whole
