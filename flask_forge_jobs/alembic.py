"""Filters that keep Alembic and Flask-Migrate away from the tables of the jobs.

Autogenerate drops every table that it finds in the database and in no model of the
application, and ours are such tables: the package makes and migrates them itself. Pass
:func:`include_name` to ``Migrate()`` or ``context.configure()``. The module imports
nothing of Alembic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# By name and not by prefix: the application's own forge_customer stays its own.
TABLES = frozenset(
    {
        "forge_audit",
        "forge_cron",
        "forge_follow_up",
        "forge_job",
        "forge_job_count",
        "forge_lease",
        "forge_metric",
        "forge_worker",
        "forge_slot",
        "forge_queue",
        "forge_rate_limit",
        "forge_request_key",
        "forge_sample",
        "forge_schema",
    }
)


def include_name(
    name: str | None, type_: str, parent_names: Mapping[Any, str | None]
) -> bool:
    """Tell Alembic whether to read something that the database holds.

    Tables that are left out here are not even inspected, nor are their indexes.

    Args:
        name: Its name in the database; None for the default schema.
        type_: What it is: ``"schema"``, ``"table"``, ``"column"``, ``"index"``, ….
        parent_names: Its schema and, unless it is a table, its table.

    Returns:
        False for the tables of the jobs and what belongs to them, otherwise True.
    """
    table = name if type_ == "table" else parent_names.get("table_name")
    return table not in TABLES


def include_object(
    object: object,  # noqa: A002  # Alembic's name for it
    name: str | None,
    type_: str,
    reflected: bool,  # noqa: FBT001  # Alembic passes it by position
    compare_to: object | None,
) -> bool:
    """Tell Alembic whether to compare something of the database or of the models.

    Use it beside or in place of :func:`include_name` when a model of the application
    maps a table of the jobs, which Alembic would create otherwise.

    Args:
        object: The table, column, index or constraint, as an object of SQLAlchemy.
        name: Its name, if it has one.
        type_: What it is: ``"table"``, ``"column"``, ``"index"``, ….
        reflected: Whether it was found in the database, not in the models.
        compare_to: Its counterpart on the other side, if there is one.

    Returns:
        False for the tables of the jobs and what belongs to them, otherwise True.
    """
    del reflected, compare_to
    if type_ != "table":
        name = getattr(getattr(object, "table", None), "name", None)
    return name not in TABLES
