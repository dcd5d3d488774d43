"""Names and values of one thing, for people."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

import click

from flask_forge_jobs.cli.tables import since
from flask_forge_jobs.model.log_lines import one_line

MAX_VALUE_LENGTH = 4000
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")


def print_facts(head: str, facts: Mapping[str, object]) -> None:
    """Print a heading, and below it each key with its value; nulls are left out."""
    click.echo(one_line(head))
    for line in fact_lines(facts):
        click.echo(line)


def fact_lines(facts: Mapping[str, object]) -> Iterator[str]:
    """Yield a line for each key; instants are followed by their age."""
    shown = {
        key.replace("_", " "): value
        for key, value in facts.items()
        if value is not None and value not in ([], {})
    }
    width = max(map(len, shown), default=0) + 1
    for name, value in shown.items():
        yield f"  {name + ':':<{width}} {text_of(value)}"


def text_of(value: object) -> str:
    """Return a JSON value as text on one line."""
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case str() if _INSTANT.fullmatch(value):
            return f"{instant(value)}, {since(value)}"
        case str():
            return one_line(value, MAX_VALUE_LENGTH)
        case _:
            text = json.dumps(value, ensure_ascii=False)
            return one_line(text, MAX_VALUE_LENGTH)


def instant(text: str) -> str:
    """Return an instant of the API to the second: ``2027-01-31 12:00:00Z``."""
    return f"{text[:19].replace('T', ' ')}Z"
