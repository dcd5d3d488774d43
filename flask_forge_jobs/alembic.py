"""Keeps Alembic and Flask-Migrate off the tables of the jobs.

Autogenerate drops every table that no model of the application describes, such as ours,
which the package creates and migrates itself. Alembic 1.18 and newer load
:data:`PLUGIN` by its entry point, whatever the application does; into an older one
:func:`protect_tables` puts the same filters once an application with jobs is loaded.
This module does not import Alembic.

``configure_args`` of Flask-Migrate would not do: an ``env.py`` that passes a filter of
its own beside them would pass it twice, which is an error.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

# Alembic uses the plug-ins in this namespace unless its env.py names others.
PLUGIN_NAME = "alembic.autogenerate.forge_jobs"
_PLUGINS_SINCE = (1, 18)
# By name, not by prefix: an application may have a table forge_customer.
TABLES = frozenset(
    {
        "forge_attempt", "forge_audit", "forge_batch", "forge_batch_change",
        "forge_batch_dead", "forge_batch_range", "forge_bulk_run", "forge_cron",
        "forge_error", "forge_error_bucket", "forge_error_change", "forge_follow_up",
        "forge_gauge", "forge_hold", "forge_job", "forge_job_count", "forge_lease",
        "forge_link", "forge_log", "forge_metric", "forge_metric_source", "forge_queue",
        "forge_rate_limit", "forge_request_key", "forge_sample", "forge_schema",
        "forge_slot", "forge_step", "forge_worker",
    }
)  # fmt: skip
# Functions and triggers on PostgreSQL, which the package alembic_utils compares.
ROUTINES = frozenset(
    {
        "forge_acquire_concurrency", "forge_audit_no_change", "forge_audit_no_truncate",
        "forge_batch_delete", "forge_check_version", "forge_claim",
        "forge_count_errors", "forge_count_jobs", "forge_end_links", "forge_enqueue",
        "forge_enqueue_early", "forge_exchange", "forge_finish", "forge_fold_batch",
        "forge_forget_jobs", "forge_forget_ranges", "forge_free_children",
        "forge_job_count_insert", "forge_job_count_update", "forge_job_delete",
        "forge_job_error_delete", "forge_job_error_update", "forge_jobs_of_batch",
        "forge_note_changes", "forge_promote", "forge_refuse_change",
        "forge_release_done", "forge_running_members", "forge_snapshot",
        "forge_waiting", "forge_waiting_children", "forge_with_error",
    }
)  # fmt: skip


def include_name(
    name: str | None, type_: str, parent_names: Mapping[Any, str | None]
) -> bool:
    """Tell Alembic whether to inspect an object of the database.

    Args:
        name: Its name; None for the default schema.
        type_: ``"schema"``, ``"table"``, ``"column"``, ``"index"``, ….
        parent_names: Its schema and, unless it is a table, its table.

    Returns:
        False for the tables of the jobs, their columns, indexes, constraints and
        triggers, and the functions of the jobs.
    """
    if _is_routine(name, type_):
        return False
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
        False for the tables of the jobs, their columns, indexes, constraints and
        triggers, and the functions of the jobs.
    """
    del reflected, compare_to
    if _is_routine(name, type_):
        return False
    if type_ != "table":
        name = getattr(getattr(object, "table", None), "name", None)
    return name not in TABLES


def _is_routine(name: str | None, type_: str) -> bool:
    if type_ not in ("function", "trigger") or name is None:
        return False
    # As alembic_utils has it: schema.name, and the parameters of a function.
    return name.partition("(")[0].rpartition(".")[2] in ROUTINES


def use_filters(autogen_context: Any, *_: object) -> None:
    """Make a run of autogenerate use both filters, beside those of its ``env.py``."""
    # Neither list has a public name. Without them this must fail: the alternative is a
    # migration that drops the jobs.
    autogen_context._name_filters.append(include_name)  # noqa: SLF001
    autogen_context._object_filters.append(include_object)  # noqa: SLF001


class _Plugin(ModuleType):
    """A plug-in of Alembic, which asks for a module with ``setup()``."""

    def __iter__(self) -> Iterator[ModuleType]:
        """Yield itself: Alembic before 1.20.1 iterates over an entry point."""
        yield self

    @staticmethod
    def setup(plugin: Any) -> None:
        """Run before the comparison of the tables."""
        from alembic.util import DispatchPriority

        plugin.add_autogenerate_comparator(
            use_filters, "autogenerate", priority=DispatchPriority.FIRST
        )


PLUGIN = _Plugin(PLUGIN_NAME)


def protect_tables() -> bool:
    """Install the filters in this process, if it has imported Alembic.

    A second call does nothing.

    Returns:
        Whether Alembic has been imported.
    """
    if plugins := sys.modules.get("alembic.runtime.plugins"):
        if PLUGIN_NAME not in plugins._all_plugins:  # noqa: SLF001  # no entry point
            plugins.Plugin.setup_plugin_from_module(PLUGIN, PLUGIN_NAME)
        return True
    if compare := sys.modules.get("alembic.autogenerate.compare"):
        # Alembic before 1.18, which runs its functions in the order of registration.
        functions = compare.comparators._registry["schema", "default"]  # noqa: SLF001
        if use_filters not in functions:
            functions.insert(0, use_filters)
        return True
    return False


def old_version() -> str | None:
    """Return the version of an installed Alembic that loads no plug-ins, or None."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        installed = version("alembic")
    except PackageNotFoundError:
        return None
    numbers = tuple(int(part) for part in installed.split(".")[:2] if part.isdecimal())
    return installed if numbers < _PLUGINS_SINCE else None
