"""Tables, metrics, fields, options and classes are named by the glossary's words."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest

from flask_forge_jobs.api.openapi.document import document
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.cli.group import forge_jobs_group
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX, mount

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "flask_forge_jobs"
SQL = PACKAGE / "storage" / "sql"
TEMPLATES = PACKAGE / "dashboard" / "templates"
PAGE = (ROOT / "docs" / "explanation" / "glossary.rst").read_text("utf-8")
TERMS_AT, PLAIN_AT, RETIRED_AT = (
    PAGE.index(f"\n{title}\n---") for title in ("Terms", "Plain words", "Retired words")
)
# Retired words that name nothing; the others have homonyms in the code.
VAGUE = {"found", "wanted", "told", "most"}
# A method of Counter, and two components of OpenAPI, which clients know by name.
KEPT = {"most_common", "JobsFoundSchema", "BatchesFoundSchema"}
# Comments and texts of Python; to tokenize the package takes three seconds.
NO_CODE = re.compile(
    r"""(?<!\w)[bfru]{0,2}(?:\"{3}(?:.|\n)*?\"{3}|"(?:\\.|[^"\\])*"|"""
    r"""'(?:\\.|[^'\\])*')|#.*"""
)
NOT_FOUND = re.compile("not_?found", re.IGNORECASE)


def words_of(name: str) -> list[str]:
    """Return the words of a name in any of the styles that names are written in."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return [each for each in re.split(r"[^a-z0-9]+", apart.lower()) if each]


@cache
def names_of_python() -> set[str]:
    """Return the names in modules of the package, without those in texts."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        found |= set(
            re.findall(r"\b[^\W\d]\w*", NO_CODE.sub(" ", path.read_text("utf-8")))
        )
    return found


def names_of_sql() -> set[str]:
    """Return the names in statements, without those in comments and texts."""
    code = re.sub(r"--.*|'[^']*'", "", sql().replace("NOT FOUND", ""))
    return set(re.findall(r"[a-z_]\w*", code))


def names_of_pages() -> set[str]:
    """Return the variables, blocks, ids and classes in templates."""
    text = "\n".join(path.read_text("utf-8") for path in TEMPLATES.rglob("*.html"))
    code = " ".join(re.findall(r"{{.*?}}|{%.*?%}", text))
    attributes = " ".join(re.findall(r'(?:id|class)="([^"]*)"', text))
    return set(re.findall(r"[A-Za-z_]\w*", re.sub(r'"[^"]*"', "", code) + attributes))


def forms_of(word: str) -> set[str]:
    """Return a word and what it may be the plural of."""
    endings = (("s", ""), ("es", ""), ("ies", "y"))
    return {word} | {
        word.removesuffix(end) + new for end, new in endings if word.endswith(end)
    }


def terms() -> set[str]:
    block = PAGE[TERMS_AT:PLAIN_AT]
    return set(re.findall(r"^   ([a-z][a-z -]+)$", block, re.MULTILINE))


def known_words() -> set[str]:
    plain = re.findall(r"``([a-z0-9]+)``", PAGE[PLAIN_AT:RETIRED_AT])
    names = (*terms(), *(term.replace("-", "") for term in terms()), *plain)
    return {word for name in names for word in words_of(name)}


def retired_words() -> set[str]:
    rows = re.findall(r"^   \* - (.*)$", PAGE[RETIRED_AT:], re.MULTILINE)
    return {word for row in rows[1:] for word in re.findall(r"[a-z]+", row)}


def unknown(names: set[str]) -> dict[str, list[str]]:
    known = known_words()
    found = {
        name: [word for word in words_of(name) if not forms_of(word) & known]
        for name in names
    }
    return {name: words for name, words in found.items() if words}


def retired(names: set[str]) -> set[str]:
    gone = retired_words()
    return {
        name
        for name in names - KEPT
        if any(forms_of(word) & gone for word in words_of(NOT_FOUND.sub("", name)))
    }


def sql() -> str:
    return "\n".join(path.read_text("utf-8") for path in SQL.rglob("*.sql"))


def tables() -> set[str]:
    return set(re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(forge_\w+)", sql()))


def columns() -> set[str]:
    bodies = re.findall(r"CREATE TABLE [^(]*\((.*?)\n\)", sql(), re.DOTALL)
    return set(re.findall(r"^ +([a-z_]+) +[A-Z]{4}", "\n".join(bodies), re.MULTILINE))


def statements() -> set[str]:
    return set(re.findall(r"^-- name: (\w+)", sql(), re.MULTILINE))


def v1_fields() -> set[str]:
    """Return the fields and arguments of the routes that are not the reference's."""
    described = document(all_routes(enable_demo=True))
    paths, schemas = described["paths"], described["components"]["schemas"]
    found: set[str] = set()
    seen: set[str] = set()

    def look(part: Any) -> None:
        if isinstance(part, list):
            for each in part:
                look(each)
        elif isinstance(part, dict):
            found.update(part.get("properties", ()))
            if part.get("in") == "query":
                found.add(part["name"])
            name = str(part.get("$ref", "")).rpartition("/")[2]
            if name in schemas and name not in seen:
                seen.add(name)
                look(schemas[name])
            for key, each in part.items():
                if key not in ("example", "examples"):
                    look(each)

    for path, operations in paths.items():
        if path.startswith("/v1/") and path.removeprefix("/v1") not in paths:
            look(operations)
    return found


def options(command: click.Command = forge_jobs_group) -> Iterator[str]:
    yield command.name or ""
    for parameter in command.params:
        yield from (each.lstrip("-") for each in parameter.opts)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from options(found)


@cache
def modules_and_classes() -> set[str]:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        found.add(path.stem)
        tree = ast.parse(path.read_text("utf-8"))
        found |= {n.name for n in ast.walk(tree) if isinstance(n, ast.ClassDef)}
    return found


@pytest.fixture(scope="module")
def fields() -> set[str]:
    return v1_fields()


@pytest.fixture
def metrics(storage: Storage) -> set[str]:
    lines = mount(storage).get(f"{PREFIX}/metrics").text.splitlines()
    return {line.split()[2] for line in lines if line.startswith("# TYPE")}


def test_the_lists_are_not_empty(fields: set[str]) -> None:
    assert len(terms()) > 40
    assert len(known_words()) > 100
    assert {"pod", "seat", "revive"} <= retired_words()
    assert {"forge_job", "forge_worker", "forge_schema"} <= tables()
    assert {"worker_id", "concurrency_key", "scheduled_at"} <= columns()
    assert {"claim", "rescue"} <= statements()
    assert {"queue_name", "slot_id", "run_at"} <= fields
    assert {"worker", "run-at"} <= set(options())
    assert {"workers", "WorkerRegistry"} <= modules_and_classes()
    assert {"enqueue_many", "JobFilter"} <= names_of_python()
    assert {"forge_job", "max_rows", "jobs_of_each"} <= names_of_sql()
    assert {"view", "c", "rows", "squares"} <= names_of_pages()


def test_tables_are_made_of_known_words() -> None:
    assert unknown(tables()) == {}


def test_the_glossary_names_every_table() -> None:
    named = set(re.findall(r"``(forge_(?!jobs_)\w+)``", PAGE))

    assert named == tables()


def test_metrics_are_made_of_known_words(metrics: set[str]) -> None:
    assert unknown(metrics) == {}
    assert retired(metrics) == set()


def test_the_glossary_names_every_metric(metrics: set[str]) -> None:
    of_jobs = {name for name in metrics if "http" not in name}
    named = set(re.findall(r"``((?:queue|forge_jobs)_\w+)``", PAGE)) - {"queue_name"}

    assert of_jobs <= named
    assert named - of_jobs <= {
        "forge_jobs_oldest_snapshot_age_seconds",
        "forge_jobs_standby_lag_seconds",
    }


def test_fields_of_our_own_routes_are_made_of_known_words(fields: set[str]) -> None:
    assert unknown(fields) == {}
    assert retired(fields) == set()


def test_no_retired_word_is_left_in_the_database() -> None:
    assert retired(tables() | columns() | statements()) == set()


def test_no_retired_word_is_left_in_the_command_line() -> None:
    assert retired(set(options())) == set()


def test_no_module_and_no_class_has_a_retired_word() -> None:
    assert retired(modules_and_classes()) == set()


@pytest.mark.parametrize("names_of", [names_of_python, names_of_sql, names_of_pages])
def test_names_say_what_they_hold(names_of: Callable[[], set[str]]) -> None:
    vague = [name for name in retired(names_of()) if VAGUE & {*words_of(name)}]

    assert vague == []


def test_classes_that_the_glossary_names_exist() -> None:
    named = set(re.findall(r"``([A-Z][a-z]+(?:[A-Z][a-z]+)*)(?:\.[A-Z_]+)?``", PAGE))

    assert len(named) > 40
    assert named <= modules_and_classes()
