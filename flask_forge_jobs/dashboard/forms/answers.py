"""The answer to a form: back to its page with a note, or the same as JSON."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Response

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.forms import (
    BACK_FIELD,
    BODY_FIELD,
    TAG_FIELD,
    TOKEN_FIELD,
    Form,
    first,
)
from flask_forge_jobs.api.request import RequestState, prefers_page
from flask_forge_jobs.api.response import encode, json_response
from flask_forge_jobs.dashboard.forms import notes
from flask_forge_jobs.dashboard.forms.messages import note_of
from flask_forge_jobs.dashboard.forms.way_back import way_back_of
from flask_forge_jobs.dashboard.frame import way_to_mount_point
from flask_forge_jobs.model.log_lines import visible
from flask_forge_jobs.model.sentences import Action

_ERROR = 400
_SEE_OTHER = 303
# Of the API's answer; those about its body do not fit the new one.
_LOST_HEADERS = ("Content-Type", "Content-Length", "ETag")

# Where to see what a change has begun, in place of the way back.
_GOES_TO = {"bulk_run_begin": "bulk/{id}", "batch_delete": "batches"}


def answered(api: Api, state: RequestState, response: Response) -> Response:
    """Return the answer to a form whose route of the API has answered.

    A script gets the note, the API's own answer and the way back as JSON.
    """
    if response.status_code >= _ERROR:
        return response
    api.snapshots.forget()
    note = notes.masked(api, note_of(api, state, response))
    answer = response.get_json(silent=True) if response.is_json else None
    back = way_back_of(state.form)
    if state.route.action in _GOES_TO:
        named = answer if isinstance(answer, dict) else {}
        back = _GOES_TO[state.route.action].format(**named)
    is_page = prefers_page(state.request)
    document = {
        "message": visible(note.text),
        "tone": note.tone,
        "link": note.link,
        "undo": _undoing(note.undo, state.form or {}),
        "back": back,
        "answer": answer,
    }
    # A redirect keeps a content type, which Flask-DebugToolbar needs to show it.
    changed = Response(status=_SEE_OTHER) if is_page else json_response(document)
    for name in _LOST_HEADERS:
        response.headers.pop(name, None)
    response.headers.extend(changed.headers)
    response.set_data(changed.get_data())
    response.status_code = changed.status_code
    response.vary.add("Accept")
    if is_page:
        root = way_to_mount_point(state.request, state.route)
        response.headers["Location"] = root + back
        notes.keep(api, state.request, response, note)
    return response


def _undoing(undo: Action | None, form: Form) -> tuple[str, Mapping[str, str]] | None:
    """Return a button's text, and the fields that undo a form at its own address."""
    if undo is None:
        return None
    kept = {name: first(form, name) for name in (TOKEN_FIELD, BACK_FIELD)}
    if undo.if_match:
        kept[TAG_FIELD] = undo.if_match
    return undo.label, {**kept, BODY_FIELD: encode(undo.body).decode()}
