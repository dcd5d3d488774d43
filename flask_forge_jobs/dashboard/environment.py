"""The environment of our templates: its options, functions and filters.

The functions find the request themselves, so that macros which are imported without
context know them as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, cast

from flask import current_app, g
from jinja2 import Environment, StrictUndefined, defaults
from jinja2.filters import FILTERS
from jinja2.tests import TESTS

from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.dashboard import assets, words
from flask_forge_jobs.dashboard.forms.inputs import FormTarget
from flask_forge_jobs.dashboard.frame import Frame
from flask_forge_jobs.dashboard.shown_pages import ShownPage, page_about
from flask_forge_jobs.model.log_lines import visible
from flask_forge_jobs.model.sentences import Action, Sentence

FRAME = "forge_jobs_frame"
# Colour and icon of the attention report's sentences, by code.
_TONES: Mapping[str, tuple[str, str]] = {
    "no_worker": ("red", "workers"),
    "queue_unserved": ("red", "workers"),
    "queue_without_slots": ("red", "queues"),
    "database_locked": ("red", "system"),
    "queue_paused": ("amber", "paused"),
    "queue_behind": ("amber", "queues"),
    "queue_stalled": ("amber", "queues"),
    "queue_cools_down": ("violet", "scheduled"),
    "worker_lost": ("amber", "workers"),
    "duty_late": ("amber", "workers"),
    "batch_stands": ("amber", "copy"),
    "batch_open": ("amber", "copy"),
    "jobs_held": ("amber", "jobs"),
    "kind_unknown": ("amber", "unknown"),
    "schedule_missed": ("amber", "cron"),
    "rate_limit_used_up": ("amber", "limits"),
    "database_slow": ("amber", "system"),
    "transaction_open": ("amber", "system"),
    "sqlite_affected": ("amber", "system"),
    "nothing_needs_you": ("green", "done"),
}
_ENVIRONMENT = "forge_jobs_templates"
# An application may have changed any of these for its own templates.
_OPTIONS: Mapping[str, Any] = {
    "autoescape": True,
    "undefined": StrictUndefined,
    "trim_blocks": True,
    "lstrip_blocks": True,
    "block_start_string": defaults.BLOCK_START_STRING,
    "block_end_string": defaults.BLOCK_END_STRING,
    "variable_start_string": defaults.VARIABLE_START_STRING,
    "variable_end_string": defaults.VARIABLE_END_STRING,
    "comment_start_string": defaults.COMMENT_START_STRING,
    "comment_end_string": defaults.COMMENT_END_STRING,
    "line_statement_prefix": None,
    "line_comment_prefix": None,
}


class AsIs(str):
    """A text that a form sends back, and so is written as it is."""

    __slots__ = ()


def _shown(value: object) -> object:
    """Return the value of an expression as a page shows it.

    Characters that reorder or hide the text around them are shown as their escapes,
    whosever text it is.
    """
    if type(value) is str and not value.isprintable():
        return visible(value)
    return value


def environment() -> Environment:
    """Return the environment of the current application."""
    made = current_app.extensions.get(_ENVIRONMENT)
    if made is None:
        made = current_app.jinja_env.overlay(**_OPTIONS, finalize=_shown)
        # Copies: an overlay shares those of the application, which may have put its own
        # in place of Jinja's.
        made.globals = {**made.globals, **defaults.DEFAULT_NAMESPACE, **_FUNCTIONS}
        made.filters = {**made.filters, **FILTERS, **_FILTERS}
        made.tests = {**made.tests, **TESTS}
        current_app.extensions[_ENVIRONMENT] = made
    return cast("Environment", made)


def _frame() -> Frame:
    return cast("Frame", getattr(g, FRAME))


def _asset(name: str) -> str:
    """Return the address of a static file."""
    return _frame().root + assets.address_of(name)


def _link(path: str, *names: str, **query: object) -> str:
    """Return the address of a page: ``link("queues", name, range="1h")``.

    Names are percent-encoded; parameters of None are left out.
    """
    return _frame().link((path, *names), query)


def _here(**changes: object) -> str:
    """Return the address of this page with changed parameters; None removes one."""
    return _frame().here_with(changes)


def _may(permission: str) -> bool:
    """Return whether the caller may change something now."""
    return _frame().may(Permission(permission))


def _own_queues() -> str | None:
    """Return the names of the caller's queues; None for a caller of all queues."""
    caller = _frame().caller
    return None if caller is None else caller.queues


def _form_for(endpoint: str, **values: object) -> FormTarget:
    """Return the form of a route of the API: address, hidden fields, permission."""
    return _frame().forms.to(endpoint, values)


def _form_of(action: Action) -> FormTarget | None:
    """Return the form of a sentence's action; None if it only shows something."""
    return _frame().forms.of(action)


def _page_about(sentence: Sentence) -> ShownPage | None:
    """Return the page about a sentence, if the caller may open it."""
    shown = page_about(sentence)
    return shown if shown is not None and _frame().has(shown.path) else None


def _shown_instant(at: datetime) -> tuple[str, bool]:
    """Return the text of an instant, and whether it is an age, which the script renews.

    One call: lists have a hundred of them. The script fills in the answers to its own
    requests, which so stay the same while nothing happens.
    """
    frame = _frame()
    if not frame.has_ages:
        return words.absolute(at), False
    if words.is_far(at, frame.now):
        return words.date(at), False
    return words.ago(at, frame.now) if frame.only is None else "", True


def _age(since: datetime) -> str:
    frame = _frame()
    return words.age(since, frame.now) if frame.only is None else ""


def _with_ages(
    text: str, evidence: Mapping[str, object]
) -> Iterable[tuple[str, datetime | None]]:
    """Return the pieces of a sentence of the report, and the instants of its ages."""
    report = _frame().report
    return () if report is None else words.with_ages(text, evidence, report.at)


def _tone(sentence: Sentence) -> tuple[str, str]:
    """Return the colour and the icon of a sentence of the attention report."""
    return _TONES.get(sentence.code, ("red", "errors"))


_FUNCTIONS = {
    "asset": _asset,
    "link": _link,
    "here": _here,
    "may": _may,
    "own_queues": _own_queues,
    "form_for": _form_for,
    "form_of": _form_of,
    "page_about": _page_about,
}
_FILTERS = {
    "as_is": AsIs,
    "shown_instant": _shown_instant,
    "age": _age,
    "absolute": words.absolute,
    "stamp": words.stamp,
    "number": words.number,
    "percent": words.percent,
    "size": words.size,
    "span": words.span,
    "took": words.took,
    "fact": words.fact,
    "short_ids": words.short_ids,
    "with_ages": _with_ages,
    "worker": words.worker,
    "tone": _tone,
}
