"""The forms: one for each change of the API below ``/v1``, and one rule for all.

Werkzeug takes a fifth of a millisecond to compile each rule of each application.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from flask import Request
from werkzeug.exceptions import NotFound
from werkzeug.routing import BaseConverter, Map, Rule

from flask_forge_jobs.api.routes import FORM_PREFIX, PLACEHOLDER, V1_PREFIX, Route
from flask_forge_jobs.dashboard.page_route import PAGE_POLICY

_CHANGE = "change"
_CONVERTER = "forge_form"
FORM_RULE = f"{FORM_PREFIX}/<{_CONVERTER}:{_CHANGE}>"
FORM_ENDPOINT = "form"


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
    """Finds the form that a request sends.

    Args:
        forms: The routes of the forms; none if there are no pages.
        known: The converters of placeholders.
    """

    def __init__(
        self, forms: Iterable[Route], known: Mapping[str, type[BaseConverter]]
    ) -> None:
        # A fixed word comes before a placeholder in its place, as in Werkzeug.
        ordered = sorted(forms, key=lambda form: form.path.replace("<", "~"))
        self._patterns = [(_pattern(form, known), form) for form in ordered]

    def add_converter(self, urls: Map) -> None:
        """Register the converter of the rule, so that other addresses are unknown."""
        either = "|".join(pattern for pattern, _ in self._patterns)

        class Converter(BaseConverter):
            """The method and the path of a change."""

            # Werkzeug names a group of its own.
            regex = re.sub(r"\?P<[a-z_]+>", "?:", either)
            part_isolating = False

        urls.converters[_CONVERTER] = Converter

    def enter(self, request: Request) -> Route | None:
        """Give a request the placeholders and the rule of its form, and return that.

        None means that this has been done.
        """
        placeholders = request.view_args or {}
        change = placeholders.pop(_CHANGE, None)
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
            match = re.fullmatch(pattern, change)
            if match is not None:
                return form, match.groupdict()
        raise NotFound


def _pattern(form: Route, known: Mapping[str, type[BaseConverter]]) -> str:
    def group(placeholder: re.Match[str]) -> str:
        converter = known.get(placeholder[0][1:].partition(":")[0], BaseConverter)
        return f"(?P<{placeholder['name']}>{converter.regex})"

    return PLACEHOLDER.sub(group, form.path.removeprefix(f"{FORM_PREFIX}/"))
