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
from flask_forge_jobs.api.openapi.headers import given, is_compared
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.cli.group import forge_jobs_group
from flask_forge_jobs.config.environment import VARIABLES
from flask_forge_jobs.config.option import Option
from flask_forge_jobs.config.settings import PREFIX, options

Lines = Iterator[str]
OK = 200
# The groups of settings on their page.
SETTINGS = {
    "The database": (
        "database_url database_file listen_url read_database_url read_max_lag_s "
        "migrate pool_size connect_timeout_s statement_timeout_s sqlite_synchronous "
        "sqlite_busy_timeout_s"
    ),
    "Workers": (
        "embedded_worker inline lease_s shutdown_grace_s cancel_grace_s batch_open_s"
    ),
    "Log lines of jobs": "log_lines log_print",
    "Access to the API": (
        "auth tokens read_only metrics_auth allowed_hosts cors_origins rate_limits "
        "link_secrets"
    ),
    "Limits of requests": (
        "url_prefix max_body_bytes bulk_max strict_queues max_queue_depth max_queues "
        "max_kinds enable_demo"
    ),
    "Masking": "redact_keys redact_default_keys redact",
    "The dashboard": (
        "dashboard dashboard_title dashboard_badge dashboard_colour dashboard_logo "
        "dashboard_home dashboard_login dashboard_links dashboard_streams behind_s "
        "status_template"
    ),
}
# Headers that the page names once; statuses that it names where they may occur.
SAID_ONCE = {"ETag", "If-None-Match", "X-Total-Count", "Deprecation"}
NAMED = (404, 412)
MEANINGS = {
    400: "the body, the query or the path is wrong; ``field`` says where",
    401: "no valid credential",
    403: "the credential lacks the permission, or may not see the queue",
    404: "nothing has this id or name, or the caller may not see it",
    405: "the path has other methods; ``Allow`` names them",
    409: "the state does not allow it, or another writer holds the SQLite file",
    411: "the body has no length",
    412: "``If-Match`` does not match: somebody has changed it since",
    413: "the body exceeds ``FORGE_JOBS_MAX_BODY_BYTES``",
    415: "the body is not JSON in UTF-8",
    429: "a limit of the caller or of the queue is reached",
    500: "a fault of the server, whose log has the request's id",
    503: "the database is away or too slow; or the service is not ready",
}


def setting_lines() -> Lines:
    """Yield a section for each group of ``FORGE_JOBS_`` keys."""
    known = {option.key.removeprefix(PREFIX).lower(): option for option in options()}
    grouped = [name for names in SETTINGS.values() for name in names.split()]
    if sorted(grouped) != sorted(known):
        raise LookupError(f"not in one group each: {sorted({*grouped} ^ {*known})}")
    for title, names in SETTINGS.items():
        yield title
        yield "~" * len(title)
        yield ""
        for name in names.split():
            yield from option_lines(known[name])


def option_lines(option: Option) -> Lines:
    """Yield the definition of one key."""
    unit = f" {option.unit}" if option.unit else ""
    default = option.default
    shown = list(default) if isinstance(default, tuple) else default
    yield f"``{option.key}``"
    yield f"    {option.meaning}"
    yield ""
    secret = " Never shown in a message or a log." if option.secret else ""
    yield f"    Default: ``{shown!r}``{unit}. Accepts {option.accepts}.{secret}"
    yield ""


def variable_lines() -> Lines:
    """Yield a table of the environment variables of ``forge-jobs-server``."""
    rows = ((f"``{each.name}``", each.default, each.meaning) for each in VARIABLES)
    yield from table(("variable", "default", "meaning"), rows)


def route_lines(*tags: str) -> Lines:
    """Yield the routes with these tags, from what the OpenAPI document is made of."""
    routes = list(all_routes(enable_demo=True))
    served = document(routes)["paths"]
    known = {each.template for each in routes}
    twins = {f"/v1{path}" for path in known} & known
    if unknown := set(tags) - {tag_of(route) for route in routes}:
        raise LookupError(f"no route has the tag {', '.join(sorted(unknown))}")
    routes.sort(
        key=lambda route: route.template in twins
    )  # those of the reference last
    for tag in tags:
        for route in routes:
            path = route.template
            if tag_of(route) == tag and path.startswith("/v1/"):
                mark = " †" if path in twins else ""
                operation = served[path][route.method.lower()]
                yield f"``{route.method} {path}``{mark}"
                yield from operation_lines(route, operation)
                yield ""


def operation_lines(route: Route, operation: Document) -> Lines:
    """Yield what a definition list says of one route and not of every one."""
    permission = f"``{route.permission}``" if route.permission else "no permission"
    old = " Deprecated." if route.is_deprecated else ""
    yield f"    {operation['summary']}{old} Needs {permission}."
    yield ""
    texts = [*input_texts(route, operation), *answer_texts(route)]
    if texts:
        yield f"    {' '.join(texts)}"
        yield ""


def input_texts(route: Route, operation: Document) -> Lines:
    """Yield a sentence for each part of the request."""
    places = {"query": "Query", "header": "Headers"}
    for place, title in places.items():
        found = [
            each
            for each in operation.get("parameters", ())
            if each["in"] == place and each["name"] not in SAID_ONCE
        ]
        if found:
            yield f"{title}: {', '.join(map(parameter_text, found))}."
    if route.body is not None:
        fields = route.body.fields.items()
        keys = [
            f"``{field.data_key or name}``{'' if field.required else '?'}"
            for name, field in fields
        ]
        yield f"Body: {', '.join(keys)}."


def answer_texts(route: Route) -> Lines:
    """Yield what differs from the answers of every route."""
    statuses = (route.status, *route.other_answers)
    if statuses != (OK,):
        yield f"Answers {', '.join(map(str, statuses))}."
    if route.method == "GET" and route.permission and not is_compared(route):
        yield "Never 304."
    if named := [f"``{name}``" for name in given(route) if name not in SAID_ONCE]:
        yield f"Gives {', '.join(named)}."
    if refused := [str(each) for each in refusals_of(route) if each in NAMED]:
        yield f"Refuses with {', '.join(refused)}, too."


def parameter_text(parameter: Document) -> str:
    """Return a parameter's name, with a mark when it may be absent."""
    return f"``{parameter['name']}``{'' if parameter.get('required') else '?'}"


def status_lines() -> Lines:
    """Yield a table of the statuses of errors, with their kinds on the wire."""
    kinds: dict[int, set[str]] = {}
    for kind, status in STATUSES.values():
        kinds.setdefault(status, set()).add(kind)
    for status, (kind, _field) in HTTP_KINDS.items():
        kinds.setdefault(status, set()).add(kind)
    rows = (
        (
            str(status),
            ", ".join(f"``{kind}``" for kind in sorted(found)),
            MEANINGS[status],
        )
        for status, found in sorted(kinds.items())
    )
    yield from table(("status", "``kind``", "meaning"), rows)


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


def directive(lines: Callable[..., Lines]) -> type[SphinxDirective]:
    """Return a directive that writes what a function yields for its arguments."""

    class Generated(SphinxDirective):
        optional_arguments = 9

        def run(self) -> list[nodes.Node]:
            text = "\n".join(lines(*self.arguments))
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
