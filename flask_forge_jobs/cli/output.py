"""The output of commands: tables for people, JSON for programs, questions before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import click

from flask_forge_jobs.api.response import encode
from flask_forge_jobs.cli.tables import Column, Row, print_table

Command = TypeVar("Command", bound=Callable[..., Any])


def json_option(of: str) -> Callable[[Command], Command]:
    """Return the option ``--json``; ``of`` says what is printed."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print {of} as JSON.")


def limit_option(highest: int, meaning: str) -> Callable[[Command], Command]:
    """Return the option ``--limit`` of a list, 30 by default."""
    return click.option(
        "--limit",
        type=click.IntRange(1, highest),
        default=30,
        show_default=True,
        help=meaning,
    )


def print_json(document: object) -> None:
    """Print one JSON document on a line."""
    click.echo(encode(document))


def print_json_lines(rows: Iterable[Row]) -> None:
    """Print a JSON document a line for each row."""
    for row in rows:
        print_json(row)


def print_rows(
    columns: Sequence[Column], rows: Sequence[Row], empty: str, *, as_json: bool
) -> None:
    """Print rows as JSON lines, as a table, or the text that says there are none."""
    if as_json:
        print_json_lines(rows)
    elif rows:
        print_table(columns, rows)
    else:
        click.echo(empty)


def print_page(
    columns: Sequence[Column],
    rows: Iterator[Row],
    noun: str,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """Print rows, of which there is one more if ``limit`` cuts them."""
    if as_json:
        print_json_lines(islice(rows, limit))
        return
    shown = list(rows)
    print_rows(columns, shown[:limit], f"no {noun} matches", as_json=False)
    if len(shown) > limit:
        click.echo(f"there are more than {limit:,}; see --limit", err=True)


def print_change(document: object, text: str, *, as_json: bool) -> None:
    """Print the outcome of a change: the document as JSON, or the text."""
    if as_json:
        print_json(document)
    else:
        click.echo(text)


def options(*added: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Return a decorator that adds options in the order of the help."""

    def add(command: Command) -> Command:
        for option in reversed(added):
            command = option(command)
        return command

    return add


yes_option = click.option("--yes", "-y", "is_sure", is_flag=True, help="Do not ask.")


def confirm(question: str, *, is_sure: bool) -> None:
    """Ask on standard error before a change, unless the user is sure.

    Raises:
        UsageError: Nobody can answer.
        Abort: The answer is no, or Ctrl-C.
    """
    if is_sure:
        return
    try:
        is_agreed = click.confirm(question, err=True)
    except click.Abort as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise
        raise click.UsageError(
            "nobody answers the question; add --yes to go on"
        ) from None
    if not is_agreed:
        raise click.Abort
