"""The page of a form that was refused: why, and everything that was typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from flask import Response
from werkzeug.exceptions import HTTPException

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.errors import Problem
from flask_forge_jobs.api.forms import BODY_FIELD, HEADER_FIELDS, Form, first, read_form
from flask_forge_jobs.api.request import RequestState, present_state
from flask_forge_jobs.dashboard.forms.inputs import Forms
from flask_forge_jobs.dashboard.forms.sign_in import SIGN_IN
from flask_forge_jobs.dashboard.forms.way_back import way_back_of
from flask_forge_jobs.dashboard.frame import way_to_mount_point
from flask_forge_jobs.dashboard.page import render
from flask_forge_jobs.errors import ForgeJobsError

# Of a stranger's form, which has not been read yet.
MAX_BYTES = 65_536
# The page repeats the fields.
MAX_SHOWN = 200
_SIGNED_OUT = 401
_FORBIDDEN = (_SIGNED_OUT, 403)
_STALE = 412
# A field that does not fit one line, or holds more than most lines.
_LONG = 80


@dataclass(frozen=True, slots=True)
class Typed:
    """A field that the page shows again."""

    name: str
    text: str

    @property
    def is_long(self) -> bool:
        """Whether it needs several lines."""
        return "\n" in self.text or len(self.text) > _LONG


def refused_page(api: Api, problem: Problem) -> Response:
    """Return the page of an error of the current request, which sends a form."""
    shown = refused(api, present_state(), problem)
    return render(api, "refused", shown, problem.status)


def refused(api: Api, state: RequestState, problem: Problem) -> Mapping[str, object]:
    """Return the values of the page.

    The form can be sent again unless the caller may not: somebody else may have chosen
    what it says.
    """
    form = _form_of(api, state, problem)
    typed = [
        Typed(name, text)
        for name, texts in form.items()
        if not name.startswith("_")
        for text in texts
    ]
    kept = [name for name in (BODY_FIELD, *HEADER_FIELDS) if name in form]
    if problem.status == _STALE:
        # To send it again means to overwrite what somebody else has stored.
        kept = [name for name in kept if HEADER_FIELDS.get(name) != "If-Match"]
    back = way_back_of(form)
    root = way_to_mount_point(state.request, state.route)
    return {
        "problem": problem,
        "typed": typed[:MAX_SHOWN],
        "kept": [Typed(name, first(form, name)) for name in kept],
        "hidden": Forms(api, state, root, back).hidden,
        "is_repeatable": problem.status not in _FORBIDDEN and len(typed) <= MAX_SHOWN,
        "back": root + back,
        "sign_in": _sign_in(api, root, back) if problem.status == _SIGNED_OUT else None,
    }


def _sign_in(api: Api, root: str, back: str) -> str | None:
    if api.options.tokens is None:
        return None
    return f"{root}{SIGN_IN[1:]}?{urlencode({'back': back})}"


def _form_of(api: Api, state: RequestState, problem: Problem) -> Form:
    """Return the fields of the form; none of those that another site sends."""
    if state.form is not None:
        return state.form
    site = state.request.headers.get("Sec-Fetch-Site")
    if problem.status != _SIGNED_OUT or site not in {"same-origin", None}:
        return {}
    try:
        return read_form(state.request, min(MAX_BYTES, api.options.max_body_bytes))
    except (ForgeJobsError, HTTPException):
        return {}
