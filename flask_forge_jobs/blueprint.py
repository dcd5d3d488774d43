"""The ``forge_jobs`` blueprint: the addresses of the API and the pages.

``app.register_blueprint(create_blueprint(storage), url_prefix="/api/queue")`` is all an
application needs; :class:`flask_forge_jobs.ForgeJobs` does the same and more. Errors
below the mount point have the API's own form in every application.

The :mod:`~flask_forge_jobs.edge` behind the addresses is imported with the first
request for one of them, because workers and commands never need it. A server imports it
with the application: before it forks, and not while somebody waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response
from flask.blueprints import BlueprintSetupState
from flask.sansio.app import App
from werkzeug.exceptions import HTTPException, default_exceptions

from flask_forge_jobs.api.addresses import (
    INDEX_PATH,
    Address,
    ApiAddress,
    api_addresses,
    converters,
    form_path,
)
from flask_forge_jobs.api.late_rules import late
from flask_forge_jobs.api.mount_point import Unmatched
from flask_forge_jobs.api.options import BlueprintOptions
from flask_forge_jobs.dashboard.forms.rule import (
    FORM_CONVERTER,
    FORM_ENDPOINT,
    FORM_RULE,
    form_converter,
)
from flask_forge_jobs.dashboard.table import page_addresses
from flask_forge_jobs.server_detection import has_server

if TYPE_CHECKING:
    from flask_forge_jobs.edge import Edge
    from flask_forge_jobs.storage.base import Storage
    from flask_forge_jobs.storage.standby import Standby

__all__ = ["BlueprintOptions", "create_blueprint"]

BLUEPRINT_NAME = "forge_jobs"
INDEX_ENDPOINT = f"{BLUEPRINT_NAME}.page_index"
# The function that views of a page have as their name.
_PAGE_VIEW = ("flask_forge_jobs.edge", "_as_preferred")


def create_blueprint(
    storage: Storage | Callable[[], Storage],
    *,
    options: BlueprintOptions | None = None,
    standby: Standby | None = None,
) -> Blueprint:
    """Return a blueprint that serves the API and the pages of one storage.

    Nothing is opened before the first request that uses the storage.

    Args:
        storage: The storage, or a function that returns the storage of the current
            request.
        options: How the blueprint behaves. None means the defaults, which answer only
            direct requests from this machine in debug or in tests.
        standby: A hot standby of ``storage`` for lists and figures. None means none.

    Raises:
        ConfigurationError: An option is invalid.
    """
    chosen = options or BlueprintOptions()
    chosen.check()
    routes = api_addresses(enable_demo=chosen.enable_demo)
    pages = page_addresses(dashboard=chosen.dashboard)
    # A demo route that is off is unknown, and no name of a job either.
    paths = [each.address.path for each in api_addresses(enable_demo=True)]
    by_name = converters([*paths, *(address.path for address in pages)])
    edge = LateEdge(storage, chosen, standby)
    blueprint = _LateBlueprint(
        BLUEPRINT_NAME, __name__, template_folder="dashboard/templates"
    )
    blueprint.record(lambda state: state.app.url_map.converters.update(by_name))
    _add_routes(blueprint, edge, routes, pages)
    if chosen.dashboard:
        forms = [form_path(*each.address[:2]) for each in routes if each.has_form]
        converter = form_converter(forms, by_name)
        blueprint.record(
            lambda state: state.app.url_map.converters.update(
                {FORM_CONVERTER: converter}
            )
        )
        _add_rule(blueprint, Address("POST", FORM_RULE, FORM_ENDPOINT), edge.form)
    _add_hooks(blueprint, edge)
    if has_server():
        edge()
    return blueprint


class _LateBlueprint(Blueprint):
    """A blueprint whose rules build URLs late."""

    # APIFlask, whose OpenAPI document is of the application, asks each blueprint.
    enable_openapi = False

    def register(self, app: App, options: dict[str, Any]) -> None:
        """Add the rules to an application, whose own are as before."""
        own = vars(app).get("url_rule_class")
        app.url_rule_class = late(app.url_rule_class)
        try:
            super().register(app, options)
        finally:
            del app.url_rule_class
            if own is not None:
                app.url_rule_class = own


class LateEdge:
    """The edge of one blueprint, imported and made when it is needed.

    If the import fails, the request does, and the next one tries again.
    """

    def __init__(
        self,
        storage: Storage | Callable[[], Storage],
        options: BlueprintOptions,
        standby: Standby | None = None,
    ) -> None:
        self._storage = storage
        self._options = options
        self._standby = standby
        self._first: dict[str, Edge] = {}
        self.made: Edge | None = None
        """The edge once it is there, for those whom a call costs too much."""

    def __call__(self) -> Edge:
        """Return the edge."""
        if self.made is None:
            from flask_forge_jobs.edge import Edge

            # Without a lock, which another thread may hold at a fork. One that another
            # thread has just put there stays.
            self.made = self._first.setdefault(
                "edge", Edge(self._storage, self._options, self._standby)
            )
        return self.made

    def view(self, endpoint: str, names: tuple[str, str]) -> Callable[..., Response]:
        """Return the view of a route, with the module and the name of another."""

        def view(**placeholders: Any) -> Response:
            return (self.made or self()).views[endpoint](**placeholders)

        view.__module__, view.__name__ = names
        view.__qualname__ = view.__name__
        return view

    def form(self, **placeholders: Any) -> Response:
        """Answer a form."""
        return self().send_form(**placeholders)


def _add_routes(
    blueprint: Blueprint,
    edge: LateEdge,
    routes: Sequence[ApiAddress],
    pages: Sequence[Address],
) -> None:
    places = set()
    for address, module, name, _ in routes:
        places.add((address.method, address.path))
        _add_rule(blueprint, address, edge.view(address.endpoint, (module, name)))
    for address in pages:
        view = edge.view(address.endpoint, _PAGE_VIEW)
        if address.path == INDEX_PATH:
            blueprint.record(partial(_add_index, address, view))
        elif (address.method, address.path) not in places:
            _add_rule(blueprint, address, view)


def _add_rule(
    blueprint: Blueprint, address: Address, view: Callable[..., Response]
) -> None:
    blueprint.add_url_rule(
        address.path,
        endpoint=address.endpoint,
        view_func=view,
        methods=[address.method],
        # Unmatched answers OPTIONS, with 204 and no body.
        provide_automatic_options=False,
    )


def _add_index(
    address: Address, view: Callable[..., Response], state: BlueprintSetupState
) -> None:
    """Serve the index at the mount point; the root is the application's own.

    With and without a slash at the end, because a redirect would go to whatever host
    the client has named. Not strict_slashes=False, which answers other methods with
    404.
    """
    names = (state.name_prefix, state.name, address.endpoint)
    endpoint = ".".join(name for name in names if name)
    # At the root, forge-jobs-server adds the rule.
    state.app.view_functions[endpoint] = view
    prefix = (state.url_prefix or "").rstrip("/")
    for path in (f"{prefix}/", prefix) if prefix else ():
        state.app.add_url_rule(
            path, endpoint, methods=[address.method], provide_automatic_options=False
        )


def _add_hooks(blueprint: Blueprint, edge: LateEdge) -> None:
    """Add the functions that run before and after each request, and at errors."""

    # One hook for everything: Flask checks each hook for a coroutine on each request.
    @blueprint.before_request
    def begin() -> None:
        made = edge.made or edge()
        made.guard(made.routed())

    @blueprint.after_request
    def end(response: Response) -> Response:
        return (edge.made or edge()).end(response)

    def answer_error(error: Exception) -> Response | HTTPException:
        try:
            return edge().answer_error(error)
        except ImportError:
            # Flask logs it and asks for an answer to an InternalServerError.
            if isinstance(error, HTTPException):
                return error
            raise

    blueprint.register_error_handler(Exception, answer_error)
    # The application's handler for a status would precede ours for all exceptions.
    for status in default_exceptions:
        blueprint.register_error_handler(status, answer_error)

    def answer_unmatched(path: str, error: HTTPException) -> Response:
        return edge().answer_unmatched(path, error)

    def watch(state: BlueprintSetupState) -> None:
        prefix = state.url_prefix or ""
        unmatched = Unmatched(state.app, prefix, answer_unmatched, state.subdomain)
        state.app.before_request(unmatched)

    blueprint.record(watch)
