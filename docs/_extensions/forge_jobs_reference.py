"""Directives that write reference pages from the code, so that they cannot lie."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator

import click
from blinker import NamedSignal
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from flask_forge_jobs import errors, signals
from flask_forge_jobs.api.errors import HTTP_KINDS, STATUSES
from flask_forge_jobs.api.openapi.document import (
    Document,
    document,
    refusals_of,
    tag_of,
)
from flask_forge_jobs.api.openapi.headers import NOT_MODIFIED, given, is_compared
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.table import UNVERSIONED, all_routes
from flask_forge_jobs.api.unversioned.jobs import DEMO_ROUTE
from flask_forge_jobs.cli.group import forge_jobs_group
from flask_forge_jobs.config.environment import VARIABLES
from flask_forge_jobs.config.settings import options

Lines = Iterator[str]


def setting_lines() -> Lines:
    """Yield a definition of every ``FORGE_JOBS_`` key."""
    for option in options():
        unit = f" {option.unit}" if option.unit else ""
        default = option.default
        shown = list(default) if isinstance(default, tuple) else default
        yield f"``{option.key}``"
        yield f"    {option.meaning}"
        yield ""
        yield f"    Default: ``{shown!r}``{unit}. Accepts {option.accepts}."
        if option.secret:
            yield "    Never shown in a message or a log."
        yield ""


def variable_lines() -> Lines:
    """Yield a table of the environment variables of ``forge-jobs-server``."""
    rows = ((f"``{each.name}``", each.default, each.meaning) for each in VARIABLES)
    yield from table(("variable", "default", "meaning"), rows)


def route_lines() -> Lines:
    """Yield the routes by concern, from what the OpenAPI document is made of."""
    routes = all_routes(enable_demo=True)
    served = document(routes)["paths"]
    twins = {route.under_v1().path for route in (*UNVERSIONED, DEMO_ROUTE)}
    for tag in sorted({tag_of(route) for route in routes}):
        yield tag.capitalize().replace("_", " ")
        yield "~" * len(tag)
        yield ""
        for route in routes:
            if tag_of(route) != tag or route.path in twins:
                continue
            path = route.template
            operation = served[path][route.method.lower()]
            yield f"``{route.method} {path}``"
            yield from operation_lines(route, operation)
            yield ""


def operation_lines(route: Route, operation: Document) -> Lines:
    """Yield what a definition list says of one route."""
    permission = route.permission or "none"
    old = " Deprecated." if route.is_deprecated else ""
    yield f"    {operation['summary']}{old}"
    yield ""
    yield f"    Permission: {permission}."
    places = {"query": "Query", "header": "Headers"}
    for place, title in places.items():
        found = [
            each for each in operation.get("parameters", ()) if each["in"] == place
        ]
        if found:
            yield f"    {title}: {', '.join(map(parameter_text, found))}."
    if route.body is not None:
        fields = route.body.fields.items()
        keys = [
            f"``{field.data_key or name}``{'' if field.required else '?'}"
            for name, field in fields
        ]
        yield f"    Body: {', '.join(keys)}."
    answered = ", ".join(map(str, (route.status, *route.other_answers)))
    if is_compared(route):
        answered += f", {NOT_MODIFIED}"
    refused = ", ".join(map(str, refusals_of(route)))
    named = ", ".join(f"``{name}``" for name in given(route))
    more = f", with {named}" if named else ""
    yield f"    Answers {answered}{more}; refuses with {refused}."


def parameter_text(parameter: Document) -> str:
    """Return a parameter's name, with a mark when it may be absent."""
    return f"``{parameter['name']}``{'' if parameter.get('required') else '?'}"


def status_lines() -> Lines:
    """Yield a table of the kinds of errors on the wire."""
    kinds = dict(STATUSES.values())
    for status, (kind, _field) in HTTP_KINDS.items():
        kinds.setdefault(kind, status)
    rows = ((f"``{kind}``", str(status)) for kind, status in kinds.items())
    yield from table(("kind", "status"), sorted(rows, key=lambda row: row[1]))


def error_lines() -> Lines:
    """Yield every exception class, below its base."""
    for name, value in vars(errors).items():
        if inspect.isclass(value) and issubclass(value, errors.ForgeJobsError):
            yield f".. autoclass:: flask_forge_jobs.errors.{name}"
            yield "   :members:"
            yield "   :show-inheritance:"
            yield ""


def signal_lines() -> Lines:
    """Yield every signal with the text that it was made with."""
    for name, value in vars(signals).items():
        if isinstance(value, NamedSignal):
            yield f".. py:data:: flask_forge_jobs.signals.{name}"
            yield ""
            text = inspect.cleandoc(value.__doc__ or "")
            yield from textwrap.indent(text, "   ").splitlines()
            yield ""


def command_lines() -> Lines:
    """Yield what ``--help`` says of every command below ``flask forge-jobs``."""
    for names, command in walk(forge_jobs_group, ()):
        path = " ".join(("flask forge-jobs", *names))
        context = click.Context(command, info_name=path, terminal_width=80)
        yield path
        yield "-" * len(path)
        yield ""
        yield ".. code-block:: text"
        yield ""
        for line in command.get_help(context).splitlines():
            yield f"    {line}".rstrip()
        yield ""


def walk(
    command: click.Command, names: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield the commands that do something, groups only as a part of the path."""
    if not isinstance(command, click.Group):
        yield names, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        if found := command.get_command(context, name):
            yield from walk(found, (*names, name))


def summary(function: Callable[..., object]) -> str:
    """Return the first paragraph of a docstring on one line."""
    text = inspect.getdoc(function) or ""
    return " ".join(text.partition("\n\n")[0].split())


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Lines:
    """Yield a list table."""
    yield ".. list-table::"
    yield "   :header-rows: 1"
    yield ""
    for row in (head, *rows):
        for number, cell in enumerate(row):
            yield f"   {'  -' if number else '* -'} {cell}"
    yield ""


def directive(lines: Callable[[], Lines]) -> type[SphinxDirective]:
    """Return a directive that writes what a function yields."""

    class Generated(SphinxDirective):
        def run(self) -> list[nodes.Node]:
            text = "\n".join(lines())
            return self.parse_text_to_nodes(text, allow_section_headings=True)

    return Generated


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directives."""
    app.add_directive("forge-jobs-commands", directive(command_lines))
    app.add_directive("forge-jobs-errors", directive(error_lines))
    app.add_directive("forge-jobs-routes", directive(route_lines))
    app.add_directive("forge-jobs-settings", directive(setting_lines))
    app.add_directive("forge-jobs-signals", directive(signal_lines))
    app.add_directive("forge-jobs-statuses", directive(status_lines))
    app.add_directive("forge-jobs-variables", directive(variable_lines))
    return {"version": "1", "parallel_read_safe": True}
