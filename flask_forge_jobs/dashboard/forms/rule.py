"""The one rule of all forms.

Werkzeug takes a fifth of a millisecond to compile each rule of each application.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache

from werkzeug.routing import BaseConverter

from flask_forge_jobs.api.addresses import FORM_PREFIX, PLACEHOLDER

FORM_PLACEHOLDER = "change"
FORM_CONVERTER = "forge_form"
FORM_RULE = f"{FORM_PREFIX}/<{FORM_CONVERTER}:{FORM_PLACEHOLDER}>"
FORM_ENDPOINT = "form"


def form_converter(
    paths: Iterable[str], known: Mapping[str, type[BaseConverter]]
) -> type[BaseConverter]:
    """Return the converter of the rule, to which other addresses are unknown."""
    return _matching("|".join(form_pattern(path, known) for path in in_order(paths)))


@cache
def _matching(pattern: str) -> type[BaseConverter]:
    class Converter(BaseConverter):
        """The method and the path of a change."""

        # Werkzeug names a group of its own.
        regex = re.sub(r"\?P<[a-z_]+>", "?:", pattern)
        part_isolating = False

    return Converter


def in_order(paths: Iterable[str]) -> list[str]:
    """Return paths, a fixed word before a placeholder in its place, as Werkzeug."""
    return sorted(paths, key=lambda path: path.replace("<", "~"))


def form_pattern(path: str, known: Mapping[str, type[BaseConverter]]) -> str:
    """Return the regular expression of a form's path below the prefix of forms."""

    def group(placeholder: re.Match[str]) -> str:
        converter = known.get(placeholder[0][1:].partition(":")[0], BaseConverter)
        return f"(?P<{placeholder['name']}>{converter.regex})"

    return PLACEHOLDER.sub(group, path.removeprefix(f"{FORM_PREFIX}/"))
