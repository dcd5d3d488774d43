"""Templates that are compiled once for all applications of the tests.

Each application compiles the templates of the pages that a test asks for, which takes
longer than the rest of the test. The code depends only on the text and on the options
of its environment, so we cache it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment

from flask_forge_jobs.dashboard import environment

_FOLDER = Path(environment.__file__).with_name("templates")
# What else the code of a template depends on.
_OPTIONS = (
    "block_start_string", "block_end_string", "variable_start_string",
    "variable_end_string", "comment_start_string", "comment_end_string",
    "line_statement_prefix", "line_comment_prefix", "trim_blocks", "lstrip_blocks",
    "newline_sequence", "keep_trailing_newline", "undefined", "optimized",
    "autoescape", "is_async",
)  # fmt: skip


def compile_templates_once(patch: pytest.MonkeyPatch) -> None:
    """Cache the code of our templates while the patch holds."""
    compile_source = Environment.compile
    kept: dict[tuple[object, ...], Any] = {}

    def compile_or_take(
        self: Environment, source: Any, name: Any = None, filename: Any = None
    ) -> Any:
        if filename is None or _FOLDER not in Path(filename).parents:
            return compile_source(self, source, name, filename)
        options = (getattr(self, each) for each in _OPTIONS)
        key = (source, name, filename, *options, *sorted(self.extensions))
        if key not in kept:
            kept[key] = compile_source(self, source, name, filename)
        return kept[key]

    patch.setattr(Environment, "compile", compile_or_take)
