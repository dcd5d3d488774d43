"""Signatures as a reader wants them: short types that are links, readable defaults."""

from __future__ import annotations

import contextlib
import inspect
import re
from enum import Enum
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.typing import ExtensionMetadata

import flask_forge_jobs

# Nobody makes one: the package hands them out, or they are protocols.
_HANDED_OUT = frozenset(
    {
        "flask_forge_jobs.JobHandle",
        "flask_forge_jobs.QueuePaths",
        "flask_forge_jobs.Router",
        "flask_forge_jobs.RuntimeHandle",
        "flask_forge_jobs.Storage",
        "flask_forge_jobs.Task",
        "flask_forge_jobs.TaskContext",
        "flask_forge_jobs.Job",
        "flask_forge_jobs.storage.jobs.admin.JobAdmin",
        "flask_forge_jobs.storage.jobs.queue.JobQueue",
        "flask_forge_jobs.storage.jobs.reader.JobReader",
        "flask_forge_jobs.storage.limits.RateLimits",
        "flask_forge_jobs.storage.workers.WorkerRegistry",
        "flask_forge_jobs.storage.queues.QueueConfig",
    }
)
# ``~P`` and ``~flask_forge_jobs.tasks.decorator.P`` are variables of types.
_TYPE_VARIABLE = re.compile(r"~(?:[\w.]+\.)?~?([PR])\b(?!\.)")
_MODULES = re.compile(r"\b(?:[a-z_]+\.)+[A-Za-z_]+")
_LONGEST_DEFAULT = 40


class _Left:
    def __repr__(self) -> str:
        return "..."


_LEFT_OUT = _Left()


def shorten_defaults(app: Sphinx, obj: Any, bound_method: bool) -> None:  # noqa: FBT001  # likewise
    """Write ``...`` for a default that is a factory, a function or a long list."""
    del app, bound_method
    with contextlib.suppress(AttributeError, TypeError, ValueError):
        signature = inspect.signature(obj)
        obj.__signature__ = signature.replace(
            parameters=[
                each if _is_readable(each.default) else each.replace(default=_LEFT_OUT)
                for each in signature.parameters.values()
            ]
        )


def _is_readable(default: object) -> bool:
    if default is inspect.Parameter.empty or isinstance(default, Enum):
        return True
    text = repr(default)
    return not text.startswith("<") and len(text) <= _LONGEST_DEFAULT


def shorten_signature(  # noqa: PLR0917  # as Sphinx calls it
    app: Sphinx,
    what: str,
    name: str,
    obj: object,
    options: object,
    signature: str | None,
    returned: str | None,
) -> tuple[str | None, str | None]:
    """Leave out how a thing is made that nobody makes, and the marks of variables."""
    del app, what, obj, options
    if name in _HANDED_OUT:
        return "", None
    return (
        signature and _TYPE_VARIABLE.sub(r"\1", signature),
        returned and _TYPE_VARIABLE.sub(r"\1", returned),
    )


def shorten_types(  # noqa: PLR0917  # as Sphinx calls it
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Write the types of attributes without their modules; the links stay."""
    del app, what, name, obj, options
    lines[:] = [
        _MODULES.sub(r"~\g<0>", line) if line.startswith(":vartype") else line
        for line in lines
    ]


def drop_overloads(app: Sphinx) -> None:
    """Show one signature of a method whose overloads only type checkers need."""
    del app
    analyzer = ModuleAnalyzer.for_module("flask_forge_jobs.testing.kit")
    analyzer.analyze()
    analyzer.overloads.clear()


def find_public_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.TextElement
) -> nodes.reference | None:
    """Link a type by the name that it is exported under."""
    target = node["reftarget"]
    public = f"flask_forge_jobs.{target.rpartition('.')[2]}"
    if (
        node.get("refdomain") != "py"
        or not target.startswith("flask_forge_jobs.")
        or target == public
        or public.rpartition(".")[2] not in flask_forge_jobs.__all__
    ):
        return None
    return env.get_domain("py").resolve_xref(
        env, node.get("refdoc", ""), app.builder, "obj", public, node, text
    )


def setup(app: Sphinx) -> ExtensionMetadata:
    """Take part in the reading of signatures and in the making of links."""
    app.setup_extension("sphinx.ext.autodoc")  # it has two of the events
    app.connect("builder-inited", drop_overloads)
    app.connect("autodoc-before-process-signature", shorten_defaults)
    app.connect("autodoc-process-signature", shorten_signature)
    # After napoleon, which writes the types.
    app.connect("autodoc-process-docstring", shorten_types, priority=900)
    app.connect("missing-reference", find_public_name)
    return {"version": "1", "parallel_read_safe": True}
