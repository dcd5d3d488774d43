"""Calls the routes of the API in this process, as the user of a command.

A command makes the request that a client would send, so the same schema checks it, the
same handler answers it and the same entry of the audit trail records it. The guard is
not asked: a user who can run a command can read the settings of the database.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from flask import Response, current_app
from werkzeug.datastructures import Headers, MultiDict
from werkzeug.test import EnvironBuilder

from flask_forge_jobs.api.addresses import V1_PREFIX
from flask_forge_jobs.api.auditor import Auditor
from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.options import BlueprintOptions
from flask_forge_jobs.api.request import RequestState, present_state
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.cli.actor import actor
from flask_forge_jobs.handlers.audit import arguments_text
from flask_forge_jobs.model.audit import AuditRecord
from flask_forge_jobs.model.jobs import EnqueueResult, NewJob
from flask_forge_jobs.state import ApplicationState, current
from flask_forge_jobs.storage.units import Unit

# No list has shorter pages.
PAGE_SIZE = 100
Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: its JSON value, None without a body, and its headers."""

    document: Any
    headers: Headers


class LocalApi:
    """The routes below ``/v1`` of one application."""

    def __init__(self, state: ApplicationState, actor: str) -> None:
        options = BlueprintOptions.from_settings(
            state.settings,
            router=state.router,
            registry=state.registry,
            clock=state.clock,
        )
        routes = all_routes(enable_demo=False)
        self._api = Api(state.storage, options, routes)
        self._auditor = Auditor(self._api)
        self._routes = {
            route.endpoint: route
            for route in routes
            if route.path.startswith(f"{V1_PREFIX}/")
        }
        self._prefix = state.settings.url_prefix
        self._user = Principal.with_role(actor, "admin")

    def call(
        self,
        endpoint: str,
        *,
        query: Document | None = None,
        body: Document | None = None,
        **placeholders: str,
    ) -> Answer:
        """Return the answer of a route.

        Args:
            endpoint: That of the route, such as ``v1_job_retry``.
            query: The parameters; a sequence repeats one, and None leaves it out.
            body: The JSON object; see :func:`given`.
            placeholders: The values in the path.

        Raises:
            ForgeJobsError, HTTPException: As the view of the route.
        """
        route = self._routes[endpoint]
        query = given(**query or {})
        builder = EnvironBuilder(
            path=self._prefix + route.path,
            method=route.method,
            query_string=MultiDict(query),
            data=None if body is None else json.dumps(body),
            content_type=None if body is None else "application/json",
        )
        with current_app.request_context(builder.get_environ()):
            state = present_state()
            state.request.view_args = dict(placeholders)
            response = self._answer(state, route)
            text = response.get_data(as_text=True)
            return Answer(json.loads(text) if text else None, response.headers)

    def _answer(self, state: RequestState, route: Route) -> Response:
        state.id = uuid4().hex
        state.route = route
        state.principal = self._user
        state.reveals = route.can_reveal and state.request.args.get("reveal") == "1"
        placeholders = state.request.view_args or {}
        if route.mutates:
            response = self._auditor.answer(route, **placeholders)
        else:
            response = route.view(self._api, **placeholders)
        return self._auditor(state, response)

    def enqueue(self, body: Document, job: NewJob) -> EnqueueResult:
        """Store a job with the entry of ``POST /v1/jobs``, without the route's limits.

        ``body`` is what a caller would send, None for members that it leaves out.
        """
        route, storage = self._routes["v1_enqueue"], self._api.storage
        sent = {"body": given(**body)}
        record = AuditRecord(
            actor=self._user.id,
            action=route.action,
            target=None,
            address="",
            request_id=uuid4().hex,
            status=route.status,
            changed=1,
            arguments=arguments_text(sent, self._api.masking_redactor),
        )
        unit = Unit(storage.database, lambda job_id: replace(record, target=job_id))
        jobs = storage.within(unit).jobs

        def work() -> EnqueueResult:
            result = jobs.enqueue(job)
            if not unit.is_noted:
                changed = int(not result.is_deduped)
                unit.append(replace(record, target=result.id, changed=changed))
            return result

        return unit.run(work)

    def rows(
        self,
        endpoint: str,
        *,
        limit: int,
        query: Document | None = None,
        page_size: int = PAGE_SIZE,
        **placeholders: Any,
    ) -> Iterator[Document]:
        """Yield at most ``limit`` rows of a list, page by page."""
        cursor = None
        while limit > 0:
            size = min(limit, page_size)
            asked = {**(query or {}), "limit": size, "cursor": cursor}
            page = self.call(endpoint, query=asked, **placeholders).document
            yield from page["rows"]
            limit -= len(page["rows"])
            cursor = page["next_cursor"]
            if cursor is None:
                return


def local_api() -> LocalApi:
    """Return the API of the current application, for the user of this command."""
    return LocalApi(current(), actor())


def given(**values: Any) -> dict[str, Any]:
    """Return the values of those options that were given."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if value is not None and value != ()
    }
