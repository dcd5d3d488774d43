"""URL rules that compile their way back, from values to a URL, at its first use.

Werkzeug compiles it with each rule, which takes a quarter of a millisecond: forty for
the routes of this package, in every process of an application, workers included.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from werkzeug.routing import Rule

Build = Callable[..., tuple[str, str]]


def late(rule_class: type[Rule]) -> type[Rule]:
    """Return a class of rules like another, the application's, that builds late."""

    class LateRule(rule_class):  # type: ignore[valid-type, misc]  # a variable
        """A rule that compiles its builders late.

        The method that it replaces is Werkzeug's own; if a release does without it,
        rules are compiled as early as others.
        """

        def _compile_builder(self, *args: Any, **options: Any) -> Build:
            compile_now: Callable[..., Build] = super()._compile_builder
            made: list[Build] = []

            def build(rule: Rule, **values: Any) -> tuple[str, str]:
                if not made:
                    made.append(compile_now(*args, **options))
                return made[0](rule, **values)

            return build

    return LateRule
