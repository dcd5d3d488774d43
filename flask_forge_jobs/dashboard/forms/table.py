"""The forms: one for each change of the API below ``/v1``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from flask import Request
from werkzeug.exceptions import NotFound
from werkzeug.routing import BaseConverter, Rule

from flask_forge_jobs.api.addresses import V1_PREFIX
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.dashboard.forms.rule import (
    FORM_PLACEHOLDER,
    FORM_RULE,
    form_pattern,
    in_order,
)
from flask_forge_jobs.dashboard.page_route import PAGE_POLICY


def form_routes(routes: Iterable[Route]) -> Sequence[Route]:
    """Return the routes of the forms of an API's routes."""
    return [
        replace(route.as_form(), policy=PAGE_POLICY)
        for route in routes
        if route.mutates
        and route.path.startswith(f"{V1_PREFIX}/")
        and not route.is_deprecated
    ]


class FormTable:
    """Finds the form that a request sends."""

    def __init__(
        self, forms: Iterable[Route], known: Mapping[str, type[BaseConverter]]
    ) -> None:
        by_path = {form.path: form for form in forms}
        self._patterns = [
            (re.compile(form_pattern(path, known)), by_path[path])
            for path in in_order(by_path)
        ]

    def enter(self, request: Request) -> Route | None:
        """Give a request the placeholders and the rule of its form, and return that.

        None means that this has been done.
        """
        placeholders = request.view_args or {}
        change = placeholders.pop(FORM_PLACEHOLDER, None)
        if change is None:
            return None
        form, names = self._find(change)
        placeholders.update(names)
        if (rule := request.url_rule) is not None:
            # Jobs note it as their origin, and exporters label their metrics with it.
            text = rule.rule.removesuffix(FORM_RULE) + form.path
            request.url_rule = Rule(text, endpoint=rule.endpoint)
        return form

    def _find(self, change: str) -> tuple[Route, Mapping[str, str]]:
        for pattern, form in self._patterns:
            match = pattern.fullmatch(change)
            if match is not None:
                return form, match.groupdict()
        raise NotFound
