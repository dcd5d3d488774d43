"""The oldest database of each kind that works, and the check at opening.

A database that is too old would fail later, at the first statement that it does not
know, with a syntax error that says nothing of the cause.
"""

from __future__ import annotations

import re

from flask_forge_jobs.errors import StorageError

# Has the JSON functions built in; before, a build could lack them.
OLDEST_SQLITE = "3.38"
# Reads what a WITH clause is told to keep only once, and no older one is maintained.
OLDEST_POSTGRES = "12"


def refuse_older(product: str, found: str, oldest: str) -> None:
    """Refuse a database that is too old.

    Args:
        product: Its name, such as ``SQLite``.
        found: Its version in its own words, such as ``16beta1`` or ``12.22 (Debian)``;
            one without a number passes.
        oldest: The oldest version that works.

    Raises:
        StorageError: It is older; the message names both versions.
    """
    numbers = _numbers(found)
    if numbers and numbers < _numbers(oldest):
        raise StorageError(
            f"{product} {found} is too old; flask-forge-jobs needs {product} {oldest} "
            "or newer"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"[0-9]+", version)))
