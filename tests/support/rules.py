"""URL rules that are compiled once for all applications of the tests.

Most tests mount the whole blueprint, and werkzeug parses each of its hundreds of rules
and makes two functions for it, which takes longer than the test. The result depends
only on the rule's text, defaults and converters, so we cache it. If werkzeug changes
how it does this, nothing is cached and all still works.
"""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.routing import Rule

_MADE = ("_parts", "_trace", "_converters")
_BUILDERS = ("_build", "_build_unknown")


def compile_rules_once(patch: pytest.MonkeyPatch) -> None:
    """Cache what werkzeug compiles while the patch holds."""
    compile_now = Rule.compile
    kept: dict[tuple[object, ...], dict[str, Any]] = {}

    def compile_or_take(rule: Any) -> None:
        key = (
            rule.rule, rule.subdomain, rule.host, rule.merge_slashes,
            rule.map.host_matching, *rule.map.converters.items(),
            *type(rule).__mro__[1:],  # without the class that each application makes
        )  # fmt: skip
        if rule.defaults:
            compile_now(rule)
        elif key in kept:
            made = kept[key]
            vars(rule).update(made["values"])
            rule.arguments.update(made["values"]["_converters"])
            for name, build in made["builders"].items():
                setattr(rule, name, build.__get__(rule, None))
        else:
            compile_now(rule)
            if all(hasattr(rule, name) for name in (*_MADE, *_BUILDERS)):
                kept[key] = {
                    "values": {name: getattr(rule, name) for name in _MADE},
                    "builders": {
                        name: getattr(rule, name).__func__ for name in _BUILDERS
                    },
                }

    patch.setattr(Rule, "compile", compile_or_take)
