"""Finds the SQL, lays a dialect's statements over the common ones, and renders them.

A file holds statements under ``-- name:`` lines and is valid SQL in any editor.
Parameters are written ``:name``. What the dialects say differently is written in one
way:

``/* skip_locked */``, ``/* for_update */``
    The row lock of PostgreSQL; SQLite needs none, its writers take turns.
``/* rows v: id text, run integer */``
    A set of rows ``v`` that arrives as one JSON parameter named ``rows``
    (``= :name`` before the closing mark names another). One statement text serves any
    number of rows, so it is parsed once.
``:now``
    The clock: a parameter on SQLite, the server's own on PostgreSQL.
``LEAST(…)``, ``GREATEST(…)``
    The smallest and the largest of several values; ``MIN`` and ``MAX`` of SQLite.
``:known``
    The newest schema version that this code knows, for a statement that makes sure by
    itself that it may still be run.

Text that several statements share stands under a ``-- fragment:`` line and is put where
``/* use its_name */`` stands. ``-- name: listed (both ways)`` names two statements:
``listed_desc`` as it is written, and ``listed_asc`` with ``DESC`` and the comparisons
with ``:at`` and ``:edge`` turned around.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

_HEAD = re.compile(r"^-- (name|fragment): (\w+)( \(both ways\))?$", re.MULTILINE)
_USE = re.compile(r"/\* use (\w+) \*/")
_TURNED = {
    " DESC": " ASC",
    " < (:at": " > (:at",
    " >= :edge": " <= :edge",
}
_ROWS = re.compile(r"/\* rows (\w+): ([^*]+?)(?: = :(\w+))? \*/")
_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)
_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)")
_BLANK_LINES = re.compile(r"\n\s*\n")

_POSTGRES_LOCKS = {
    "skip_locked": "FOR UPDATE SKIP LOCKED",
    "skip_locked_job": "FOR UPDATE OF forge_job SKIP LOCKED",
    "skip_locked_of_job": "FOR UPDATE OF job SKIP LOCKED",
    "nowait_job": "FOR UPDATE OF forge_job NOWAIT",
    "for_update": "FOR UPDATE",
}
# statement_timestamp() is stable, so an index can serve a comparison with it.
_POSTGRES_NOW = "(extract(epoch FROM statement_timestamp()) * 1000000)::bigint"


@dataclass(frozen=True, slots=True)
class Statement:
    """One rendered statement.

    Args:
        name: Its name in the catalogue.
        sql: Text in the dialect's parameter style.
        uses_now: The caller must bind ``now``; never true on PostgreSQL.
        uses_known: The caller must bind ``known``.
    """

    name: str
    sql: str
    uses_now: bool
    uses_known: bool


def _sqlite_rows(match: re.Match[str]) -> str:
    alias, columns, parameter = match[1], match[2], match[3] or "rows"
    names = [column.split()[0] for column in columns.split(", ")]
    picked = ", ".join(f"json_extract(value, '$.{name}') AS {name}" for name in names)
    source = f"json_each(:{parameter})"
    return f"(SELECT {picked} FROM {source}) AS {alias}"  # noqa: S608  # our own names


def _postgres_rows(match: re.Match[str]) -> str:
    alias, columns, parameter = match[1], match[2], match[3] or "rows"
    return f"json_to_recordset(:{parameter}::json) AS {alias} ({columns})"


def _render_sqlite(name: str, sql: str) -> Statement:
    sql = _ROWS.sub(_sqlite_rows, sql)
    for mark in _POSTGRES_LOCKS:
        sql = sql.replace(f"/* {mark} */", "")
    sql = sql.replace("LEAST(", "MIN(").replace("GREATEST(", "MAX(")
    return Statement(
        name, _tidy(sql), uses_now=":now" in sql, uses_known=":known" in sql
    )


def _render_postgres(name: str, sql: str) -> Statement:
    sql = _ROWS.sub(_postgres_rows, sql.replace("%", "%%"))
    for mark, lock in _POSTGRES_LOCKS.items():
        sql = sql.replace(f"/* {mark} */", lock)
    sql = re.sub(r"(?<![:\w]):now\b", _POSTGRES_NOW, sql)
    text = _tidy(_PARAMETER.sub(r"%(\1)s", sql))
    return Statement(name, text, uses_now=False, uses_known=":known" in sql)


def _tidy(sql: str) -> str:
    return _BLANK_LINES.sub("\n", _COMMENT.sub("", sql)).strip()


_RENDERERS = {"sqlite": _render_sqlite, "postgres": _render_postgres}


def _root() -> Traversable:
    return files("flask_forge_jobs.storage") / "sql"


class _Source:
    """What the files of one folder say, before it is rendered."""

    def __init__(self, folder: Traversable) -> None:
        self.statements: dict[str, str] = {}
        self.fragments: dict[str, str] = {}
        if not folder.is_dir():
            return  # a dialect that says everything the common way
        for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if file.name.endswith(".sql"):
                parts = _HEAD.split(file.read_text(encoding="utf-8"))[1:]
                for head in range(0, len(parts), 4):
                    self._add(*parts[head : head + 4])

    def _add(self, sort: str, name: str, both_ways: str | None, sql: str) -> None:
        if sort == "fragment":
            _add_once(self.fragments, name, sql)
        elif both_ways:
            _add_once(self.statements, f"{name}_desc", sql)
            _add_once(self.statements, f"{name}_asc", _turned(sql))
        else:
            _add_once(self.statements, name, sql)


def _add_once(texts: dict[str, str], name: str, sql: str) -> None:
    if name in texts:
        raise ValueError(f"{name!r} is defined twice")
    texts[name] = sql


def _turned(sql: str) -> str:
    for newest_first, oldest_first in _TURNED.items():
        sql = sql.replace(newest_first, oldest_first)
    return sql


@cache
def load_statements(dialect: str) -> Mapping[str, Statement]:
    """Return every statement of a dialect by name.

    Args:
        dialect: ``sqlite`` or ``postgres``.
    """
    common, own = _Source(_root() / "common"), _Source(_root() / dialect)
    fragments = common.fragments | own.fragments

    def complete(sql: str) -> str:
        while _USE.search(sql):
            sql = _USE.sub(lambda match: _tidy(fragments[match[1]]), sql)
        return sql

    render = _RENDERERS[dialect]
    statements = common.statements | own.statements
    return {name: render(name, complete(sql)) for name, sql in statements.items()}


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema, read from ``NNNN_name.sql``.

    ``oldest_reader`` is the lowest schema version whose code can still work on a
    database that has this step; additive steps keep the number of the step before.
    """

    version: int
    name: str
    oldest_reader: int
    sql: str


# Steps that older code cannot live with name themselves here.
_OLDEST_READERS = {1: 1}


@cache
def load_migrations(dialect: str) -> tuple[Migration, ...]:
    """Return the schema's steps for a dialect in order."""
    steps = []
    folder = _root() / "migrations" / dialect
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".sql"):
            number, _, name = file.name.removesuffix(".sql").partition("_")
            version = int(number)
            oldest = max(v for k, v in _OLDEST_READERS.items() if k <= version)
            steps.append(Migration(version, name, oldest, file.read_text("utf-8")))
    return tuple(steps)
