"""Several queries as one statement, which one round trip and one snapshot answer.

The driver returns the rows of the last statement of a message only, so each query
becomes a column of JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from flask_forge_jobs.storage.database import Row

# A query may end with a comment.
_BEFORE = "SELECT json_agg(forge_row)::text FROM (\n"
_AFTER = "\n) AS forge_row"


def together(queries: Iterable[str]) -> str:
    """Return one statement whose columns hold the rows of queries."""
    columns = [f"({_BEFORE}{query}{_AFTER})" for query in queries]
    return "SELECT " + ", ".join(columns)


def rows_of(text: str | None) -> list[Row]:
    """Return the rows in a column of such a statement."""
    rows: list[Row] = json.loads(text or "[]", object_pairs_hook=_row)
    return rows


def _row(pairs: list[tuple[str, Any]]) -> Row:
    # In the order of the columns, of which several may have one name.
    return tuple([value for _, value in pairs])
