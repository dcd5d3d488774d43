"""Every acceptance check of the dashboard has a test that is named after it.

``P01`` to ``P18`` are the checks, ``D01`` to ``D27`` the defects of the reference's
panel that ours must not have. A test carries the numbers that it covers in its name:
``test_P05_P10_...``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parent
CHECKS = {f"P{number:02}" for number in range(1, 19)}
DEFECTS = {f"D{number:02}" for number in range(1, 28)}
# The acceptance checks run twice, with and without script; these have no second time.
ONCE: Mapping[str, str] = {
    "P01": "names of parts are read from pages that run no script",
    "P06": "a refused request is sent by a script, as a stranger's site would",
    "P09": "axe-core is a script, and the keys of the pages are one's",
    "P11": "without script, no page asks by itself",
    "P13": "without script, no answer comes late",
    "P17": "it measures the server, and what the script loads",
    "P18": "without script, no panel refreshes",
}
_TEST = re.compile(r"^def (test_\w+)", re.MULTILINE)
_NUMBER = re.compile(r"_([PD]\d\d)(?=_)")


def covered(*texts: str) -> set[str]:
    """Return the numbers in the names of the tests in some modules."""
    names = [name for text in texts for name in _TEST.findall(text)]
    return {number for name in names for number in _NUMBER.findall(name)}


def test_each_check_has_its_test_in_a_browser() -> None:
    texts = [path.read_text("utf-8") for path in FOLDER.glob("test_*.py")]

    assert covered(*texts) == CHECKS | DEFECTS


def test_the_acceptance_checks_run_without_script_too() -> None:
    texts = [path.read_text("utf-8") for path in FOLDER.glob("test_*.py")]
    twice = [
        text for text in texts if re.search("java_script_enabled|with_script", text)
    ]

    assert CHECKS - covered(*twice) <= ONCE.keys() <= CHECKS
