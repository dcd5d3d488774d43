"""Several queries as one statement, or several statements as one message.

The driver returns the rows of the last statement of a message only. Queries that one
snapshot may answer become one statement: the rows of one of them stay as they are, and
the others come with the first of them, as JSON. Statements that have to run one after
the other keep their rows as JSON in settings of the transaction, which the last reads.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from flask_forge_jobs.storage.catalogue import ROWS_OF_CHANGE
from flask_forge_jobs.storage.database import Row

# A query may end with a comment.
_BEFORE = "(SELECT json_agg(forge_row)::text FROM (\n"
_AFTER = "\n) AS forge_row)"
_MAIN = "SELECT row_number() OVER () AS forge_place, forge_main.* FROM (\n"


def together(query: str, ahead: Sequence[str]) -> str:
    """Return one statement with the rows of a query and those of others."""
    names = [f"ahead_{number}" for number in range(len(ahead))]
    others = [
        f"{_BEFORE}{other}{_AFTER} AS {name}"
        for name, other in zip(names, ahead, strict=True)
    ]
    first = "CASE WHEN COALESCE(forge_place, 1) = 1 THEN "
    shown = [f"{first}{name} END" for name in names]
    return "".join(
        (
            "SELECT ", ", ".join(shown), ", forge_rows.* FROM (SELECT ",
            ", ".join(others), ") AS forge_ahead LEFT JOIN (", _MAIN, query,
            "\n) AS forge_main) AS forge_rows ON true ORDER BY forge_place",
        )
    )  # fmt: skip


def taken_apart(rows: list[Row], count: int) -> tuple[list[Row], list[list[Row]]]:
    """Return the rows of the query and those of the ``count`` others."""
    ahead = [_rows_of(text) for text in rows[0][:count]]
    # Without a row of the query there is one, of the others.
    is_empty = rows[0][count] is None
    return [] if is_empty else [row[count + 1 :] for row in rows], ahead


def in_turn(statements: Sequence[tuple[str, bool]]) -> list[str]:
    """Return statements that run one after the other, and one that returns all rows.

    Each comes with :attr:`.Statement.returns_change`.
    """
    settings = [f"'forge_jobs.rows_{number}'" for number in range(len(statements))]
    kept = [_kept(*each, at) for each, at in zip(statements, settings, strict=True)]
    shown = ", ".join(f"current_setting({setting})" for setting in settings)
    return [*kept, f"SELECT {shown}"]


def _kept(statement: str, returns_change: bool, setting: str) -> str:  # noqa: FBT001  # of a pair
    """Return a statement that keeps its rows in a setting until the commit."""
    if returns_change:
        source, start = "change", statement.removesuffix(ROWS_OF_CHANGE)
    else:
        source = "forge_row"
        start = f"WITH forge_row AS MATERIALIZED (\n{statement}\n)\n"
    rows = f"COALESCE(json_agg({source})::text, '[]')"
    last = f"SELECT set_config({setting}, {rows}, TRUE) FROM {source}"  # noqa: S608  # our own text
    return start + last


def rows_in_turn(row: Row) -> list[list[Row]]:
    """Return the rows of each of the statements from those of the last."""
    return [_rows_of(text) for text in row]


def _rows_of(text: str | None) -> list[Row]:
    rows: list[Row] = json.loads(text or "[]", object_pairs_hook=_row)
    return rows


def _row(pairs: list[tuple[str, Any]]) -> Row:
    # In the order of the columns, of which several may have one name.
    return tuple([value for _, value in pairs])
