"""Loads the SQL: a dialect's statements replace the common ones of the same name.

A file holds statements under ``-- name:`` lines and is valid SQL in any editor.
Parameters are written ``:name``. Markers stand for the differences between the
dialects:

``/* skip_locked */``, ``/* for_update */`` and the like
    A row lock on PostgreSQL; nothing on SQLite, which has one writer at a time.
``/* rows v: id text, run integer */``
    A set of rows ``v``, passed as the JSON parameter ``:rows``, or another one that
    ``= :name`` before the closing mark names. The text is the same for any number of
    rows, so it is parsed once.
``:now``
    The current time: a parameter on SQLite, the server's clock on PostgreSQL.
``LEAST(…)``, ``GREATEST(…)``
    ``MIN`` and ``MAX`` on SQLite.
``OCTET_LENGTH(…)``
    ``LENGTH`` on SQLite, which is the same for ASCII text such as a payload.
``CROSS JOIN LATERAL (SELECT enqueued_at, id FROM forge_job …) AS job``
    Some jobs for each row. On SQLite, which has no ``LATERAL``, a join with these rows
    of ``forge_job``.
``JSON_LIST(JSON_ROW(…))``
    Many rows as one value: a JSON array of arrays, or NULL or ``[]`` without any.
``/* noted */``, ``/* noted: named */``, ``/* noted: asked */``
    At the end of a statement that may be the whole change of a request. PostgreSQL has
    it a second time, its name with ``_noted`` behind it, with the entry of the request.
    A ``named`` one returns a name for each row, and an ``asked`` one a column that
    tells whether a job was only asked for something; then the entry has another status.
    If these change nothing in a repetition, they look for the entry of the first try.
    ``/* change */`` stands between a ``WITH`` that changes other rows and the change.
``/* rows of change */``
    The end of a statement of PostgreSQL that returns the rows of its ``change``. In a
    message of several it keeps them for the last; see :mod:`.postgres.together`.
``/* starts jobs */``
    In a statement of SQLite: jobs that it returns start after the commit.
``/* on disk */``
    In a look for a job that a producer adds again. SQLite shows jobs before the disk
    has them; it has what this finds before the producer hears of it.
``/* prepared */``
    In a long statement without values that its plan depends on. A session of
    PostgreSQL plans it once; see :mod:`.postgres.prepared`. One of SQLite does so with
    all.
``:quiet``
    Whether to notify nobody, on PostgreSQL; see :class:`.NotifyPause`.
``:known``
    The newest schema version that this code knows, for a statement that itself checks
    the schema.

``/* use its_name */`` inserts the text under ``-- fragment: its_name``, or one of
:data:`.columns.FRAGMENTS`: the columns of a job, and the lists of states. ``-- name:
listed (both ways)`` defines two statements: ``listed_desc`` as written, and
``listed_asc`` with ``DESC`` and the comparisons with ``:at`` and ``:edge`` reversed. A
fragment may be ``(both ways)``, too; ``/* use its_name_desc */`` is then reversed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from flask_forge_jobs.storage.columns import FRAGMENTS

_HEAD = re.compile(r"^-- (name|fragment): (\w+)( \(both ways\))?$", re.MULTILINE)
_USE = re.compile(r"/\* use (\w+) \*/")
_TURNED = {
    "_desc */": "_asc */",
    " DESC": " ASC",
    " < (:at": " > (:at",
    " >= :edge": " <= :edge",
    " >= bound.": " <= bound.",
}
_ROWS = re.compile(r"/\* rows (\w+): ([^*]+?)(?: = :(\w+))? \*/")
_LATERAL = re.compile(
    r"CROSS JOIN LATERAL \(\s*SELECT (?:\w+, )*id(\s+FROM forge_job\b.*?)"
    r"\n\s*\) AS job\b",
    re.DOTALL,
)
_JOINED = r"CROSS JOIN forge_job AS job ON job.rowid IN (\n    SELECT rowid\1\n)"
_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)
_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)")
_NOTED = re.compile(r"/\* noted(?:: (asked|named))? \*/")
_CHANGE, _STARTS = "/* change */", "/* starts jobs */"
_ON_DISK = "/* on disk */"
_PREPARED, _ROWS_OF_CHANGE = "/* prepared */", "/* rows of change */"
ROWS_OF_CHANGE = "SELECT *\nFROM change"
# In the entry of a change.
_STATUS_IF_ASKED = (
    "(SELECT CASE WHEN bool_or(asked) THEN :asked_status ELSE :http_status END"
    " FROM made)"
)
_BLANK_LINES = re.compile(r"\n\s*\n")

_POSTGRES_LOCKS = {
    "skip_locked": "FOR UPDATE SKIP LOCKED",
    "skip_locked_job": "FOR UPDATE OF forge_job SKIP LOCKED",
    "skip_locked_of_job": "FOR UPDATE OF job SKIP LOCKED",
    "nowait_job": "FOR UPDATE OF forge_job NOWAIT",
    "for_update": "FOR UPDATE",
    "for_no_key_update": "FOR NO KEY UPDATE",
    "for_share": "FOR SHARE",
}
# statement_timestamp() is stable, so an index can serve a comparison with it.
_POSTGRES_NOW = "(extract(epoch FROM statement_timestamp()) * 1000000)::bigint"


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement in the dialect's parameter style.

    ``uses_now``, ``uses_known`` and ``uses_quiet`` tell whether the caller must bind
    those parameters, ``starts_jobs`` whether jobs start after it, ``reports_stored``
    whether the disk must have what it returns, ``is_prepared`` whether a session plans
    it once, and ``returns_change`` whether it ends with :data:`ROWS_OF_CHANGE`.
    """

    name: str
    sql: str
    uses_now: bool
    uses_known: bool
    uses_quiet: bool = False
    starts_jobs: bool = False
    reports_stored: bool = False
    is_prepared: bool = False
    returns_change: bool = False


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
    sql = _LATERAL.sub(_JOINED, _ROWS.sub(_sqlite_rows, sql))
    for mark in _POSTGRES_LOCKS:
        sql = sql.replace(f"/* {mark} */", "")
    sql = sql.replace("LEAST(", "MIN(").replace("GREATEST(", "MAX(")
    sql = sql.replace("OCTET_LENGTH(", "LENGTH(")
    sql = sql.replace("JSON_LIST(", "json_group_array(")
    sql = sql.replace("JSON_ROW(", "json_array(")
    return Statement(
        name,
        _tidy(sql),
        uses_now=":now" in sql,
        uses_known=":known" in sql,
        starts_jobs=_STARTS in sql,
        reports_stored=_ON_DISK in sql,
    )


def _render_postgres(name: str, sql: str) -> Statement:
    sql = _ROWS.sub(_postgres_rows, sql.replace("%", "%%"))
    for mark, lock in _POSTGRES_LOCKS.items():
        sql = sql.replace(f"/* {mark} */", lock)
    sql = sql.replace("JSON_LIST(", "json_agg(")
    sql = sql.replace("JSON_ROW(", "json_build_array(")
    sql = re.sub(r"(?<![:\w]):now\b", _POSTGRES_NOW, sql)
    text = _tidy(_PARAMETER.sub(r"%(\1)s", sql))
    text = text.replace(_ROWS_OF_CHANGE, ROWS_OF_CHANGE)
    return Statement(
        name,
        text,
        uses_now=False,
        uses_known=":known" in sql,
        uses_quiet=":quiet" in sql,
        is_prepared=_PREPARED in sql,
        returns_change=_ROWS_OF_CHANGE in sql,
    )


def _tidy(sql: str) -> str:
    sql = _NOTED.sub("", _COMMENT.sub("", sql))
    for mark in (_CHANGE, _STARTS, _ON_DISK, _PREPARED):
        sql = sql.replace(mark, "")
    return _BLANK_LINES.sub("\n", sql).strip()


_RENDERERS = {"sqlite": _render_sqlite, "postgres": _render_postgres}


def _root() -> Traversable:
    return files("flask_forge_jobs.storage") / "sql"


class _Source:
    """The statements and fragments of one folder, not rendered yet."""

    def __init__(self, folder: Traversable) -> None:
        self.statements: dict[str, str] = {}
        self.fragments: dict[str, str] = {}
        if not folder.is_dir():
            return  # a dialect without statements of its own
        for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if file.name.endswith(".sql"):
                parts = _HEAD.split(file.read_text(encoding="utf-8"))[1:]
                for head in range(0, len(parts), 4):
                    self._add(*parts[head : head + 4])

    def _add(self, sort: str, name: str, both_ways: str | None, sql: str) -> None:
        texts = self.fragments if sort == "fragment" else self.statements
        if both_ways:
            _add_once(texts, f"{name}_desc", sql)
            _add_once(texts, f"{name}_asc", _turned(sql))
        else:
            _add_once(texts, name, sql)


def _add_once(texts: dict[str, str], name: str, sql: str) -> None:
    if name in texts:
        raise ValueError(f"{name!r} is defined twice")
    texts[name] = sql


def _turned(sql: str) -> str:
    for newest_first, oldest_first in _TURNED.items():
        sql = sql.replace(newest_first, oldest_first)
    return sql


def _with_entry(sql: str, sort: str | None, complete: Callable[[str], str]) -> str:
    """Return a statement with the audit entry of its request."""
    entry = complete("/* use entry_of_change */")
    entry = entry.replace(":changed", "(SELECT COUNT(*) FROM made)")
    if sort == "asked":
        entry = entry.replace(":http_status", _STATUS_IF_ASKED)
    answer = complete(f"/* use answer_of_{sort or 'plain'}_change */")
    others, _, change = sql.rpartition(_CHANGE)
    start = f"{others}, " if others else "WITH "
    return f"{start}made AS (\n{change}\n)\n{entry}\n{answer}"


@cache
def load_statements(dialect: str) -> Mapping[str, Statement]:
    """Return every statement of ``sqlite`` or ``postgres`` by name."""
    common, own = _Source(_root() / "common"), _Source(_root() / dialect)
    fragments = FRAGMENTS | common.fragments | own.fragments

    def complete(sql: str) -> str:
        while _USE.search(sql):
            sql = _USE.sub(lambda match: _tidy(fragments[match[1]]), sql)
        return sql

    render = _RENDERERS[dialect]
    statements = common.statements | own.statements
    statements = {name: complete(sql) for name, sql in statements.items()}
    if dialect == "postgres":
        statements |= {
            f"{name}_noted": _with_entry(sql, mark[1], complete)
            for name, sql in statements.items()
            if (mark := _NOTED.search(sql))
        }
    return {name: render(name, sql) for name, sql in statements.items()}


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema, read from ``NNNN_name.sql``.

    ``oldest_reader`` is the lowest schema version whose code still works on a database
    with this step; an additive step keeps the number of the step before.
    """

    version: int
    name: str
    oldest_reader: int
    sql: str


# By version, for each step that older code cannot work with.
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
