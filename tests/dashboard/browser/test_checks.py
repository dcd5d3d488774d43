"""Every acceptance check of the dashboard has a test that is named after it.

``P01`` to ``P18`` are the checks, ``D01`` to ``D27`` the defects of the reference's
panel that ours must not have. A test carries the numbers that it covers in its name:
``test_P05_P10_...``. What no test covers yet stands in :data:`MISSING`, which only
shrinks.
"""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parent
CHECKS = {f"P{number:02}" for number in range(1, 19)}
DEFECTS = {f"D{number:02}" for number in range(1, 28)}
MISSING = {"D21"}
_TEST = re.compile(r"^def (test_\w+)", re.MULTILINE)
_NUMBER = re.compile(r"_([PD]\d\d)(?=_)")


def covered() -> set[str]:
    """Return the numbers in the names of the tests in a browser."""
    texts = [path.read_text("utf-8") for path in FOLDER.rglob("test_*.py")]
    names = [name for text in texts for name in _TEST.findall(text)]
    return {number for name in names for number in _NUMBER.findall(name)}


def test_each_check_has_its_test() -> None:
    known = CHECKS | DEFECTS

    assert covered() <= known
    assert known - covered() <= MISSING
