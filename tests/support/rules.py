"""URL rules that are parsed and compiled once for all applications of the tests.

Most tests mount the whole blueprint, and werkzeug parses each of its hundreds of rules
and compiles two functions for it, which takes longer than the test. The result depends
only on the rule's text, defaults and converters, so we cache it. If werkzeug changes
how it does this, nothing is cached and all still works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from werkzeug.routing import Rule


def compile_rules_once(patch: pytest.MonkeyPatch) -> None:
    """Cache what werkzeug parses and compiles while the patch holds."""
    _compile_builders_once(patch)
    _parse_once(patch)


def _compile_builders_once(patch: pytest.MonkeyPatch) -> None:
    compile_builder = getattr(Rule, "_compile_builder", None)
    if compile_builder is None:
        return
    kept: dict[tuple[object, ...], Callable[..., Any]] = {}

    def compile_or_take(rule: Rule, append_unknown: bool = True) -> Callable[..., Any]:  # noqa: FBT002  # werkzeug's
        key = (rule.rule, rule.subdomain, rule.host, append_unknown)
        if rule.defaults:
            builder: Callable[..., Any] = compile_builder(rule, append_unknown)
            return builder
        if key not in kept:
            kept[key] = compile_builder(rule, append_unknown)
        return kept[key]

    patch.setattr(Rule, "_compile_builder", compile_or_take)


def _parse_once(patch: pytest.MonkeyPatch) -> None:
    parse = getattr(Rule, "_parse_rule", None)
    if parse is None:
        return
    # The parts, what it appends to the trace, and the converters by name.
    kept: dict[tuple[Any, ...], tuple[list[Any], list[Any], dict[str, Any]]] = {}

    def parse_or_take(rule: Any, text: str) -> Iterable[Any]:
        key = (text, *rule.map.converters.items())
        if key not in kept:
            trace, converters = rule._trace, rule._converters
            rule._trace, rule._converters = [], {}
            kept[key] = list(parse(rule, text)), rule._trace, rule._converters
            rule._trace, rule._converters = trace, converters
        parts, trace, converters = kept[key]
        rule._trace += trace
        rule._converters.update(converters)
        rule.arguments.update(converters)
        return parts

    patch.setattr(Rule, "_parse_rule", parse_or_take)
