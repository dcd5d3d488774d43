"""Filters that hide the tables of the jobs from Alembic and Flask-Migrate.

Autogenerate drops every table that no model of the application describes, such as ours,
which the package creates and migrates itself. Pass :func:`include_name` to
``Migrate()`` or ``context.configure()``. This module does not import Alembic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# By name, not by prefix: an application may have a table forge_customer.
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
    """Tell Alembic whether to inspect an object of the database.

    Args:
        name: Its name; None for the default schema.
        type_: ``"schema"``, ``"table"``, ``"column"``, ``"index"``, ….
        parent_names: Its schema and, unless it is a table, its table.

    Returns:
        False for the tables of the jobs and their columns, indexes and constraints.
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
    """Tell Alembic whether to compare an object of the database or of the models.

    Use it with or instead of :func:`include_name` if a model of the application maps a
    table of the jobs, which Alembic would otherwise create.

    Args:
        object: The table, column, index or constraint, an object of SQLAlchemy.
        name: Its name, if it has one.
        type_: ``"table"``, ``"column"``, ``"index"``, ….
        reflected: Whether it comes from the database, not from the models.
        compare_to: Its counterpart on the other side, if there is one.

    Returns:
        False for the tables of the jobs and their columns, indexes and constraints.
    """
    del reflected, compare_to
    if type_ != "table":
        name = getattr(getattr(object, "table", None), "name", None)
    return name not in TABLES
