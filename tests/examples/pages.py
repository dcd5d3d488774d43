"""The files that a page of the manual tells its reader to write."""

from __future__ import annotations

import re
import textwrap
from collections import defaultdict
from pathlib import Path

HOWTO = Path(__file__).parents[2] / "docs" / "howto"
_BLOCK = re.compile(
    r"^\.\. code-block:: (?:python|html)\n +:caption: (\S+)\n\n((?:   .*\n|\n)+)",
    re.MULTILINE,
)


def write_files(page: str, folder: Path) -> dict[str, str]:
    """Write every file of a page into a folder; return them by name."""
    text = (HOWTO / page).read_text("utf-8")
    blocks = _BLOCK.findall(text)
    assert len(blocks) == len(re.findall("code-block:: (?:python|html)", text))
    files: defaultdict[str, list[str]] = defaultdict(list)
    for name, block in blocks:
        files[name].append(textwrap.dedent(block))
    whole = {name: "\n\n".join(texts) for name, texts in files.items()}
    for name, content in whole.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
        if content.startswith("#!"):
            (folder / name).chmod(0o755)
    return whole
