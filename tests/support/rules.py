"""URL builders that are compiled once for all applications of the tests.

Most tests mount the whole blueprint, and werkzeug compiles two functions for each of
its hundred rules, which takes longer than the test. The result depends only on the
rule's text and defaults, so we cache it. If werkzeug changes how it does this, nothing
is cached and all still works.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.routing import Rule


def compile_builders_once(patch: pytest.MonkeyPatch) -> None:
    """Cache what werkzeug compiles while the patch holds."""
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
