"""The note about a change, which a cookie carries over the redirect to its page.

It is shown once, and signed for its browser and its caller: nobody else can put words
there, not even a user who sets the cookies of another one from a neighbouring host.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import astuple, dataclass, replace

from flask import Request, Response, after_this_request, current_app

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.auth.csrf import keep_cookie
from flask_forge_jobs.auth.form_tokens import nonce_of
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.sentences import Action

# In the path "/", as the nonce.
COOKIE = "forge_jobs_note"
# Enough for the redirect on a slow line.
KEPT_S = 60
MAX_LENGTH = 400
_USE = "note "
# Of a cookie, the signature beside it.
_LONGEST = 3800


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence about a change.

    ``tone`` is ``good``, or ``warn`` if not all was done that was asked for. ``link``
    is the path below the mount point of a page about it, or empty. ``undo`` takes the
    change back, by the route that made it; None if it cannot be taken back.
    """

    text: str
    tone: str = "good"
    link: str = ""
    undo: Action | None = None


def masked(api: Api, note: Note) -> Note:
    """Return a note as it may be shown: without secrets, on one line, bounded."""
    text = one_line(str(api.masking_redactor.text(note.text)), MAX_LENGTH)
    return replace(note, text=text)


def keep(api: Api, request: Request, response: Response, note: Note) -> None:
    """Let a response carry a note to the next page of its browser."""
    nonce = nonce_of(request)
    if nonce is None:
        return
    text = json.dumps(astuple(note), separators=(",", ":"))
    caller = api.principal.id
    token = api.form_tokens.token(current_app, caller, nonce, _USE + text)
    value = f"{token}.{urlsafe_b64encode(text.encode()).decode()}"
    keep_cookie(request, response, COOKIE, value, max_age=KEPT_S)


def take(api: Api, request: Request, caller: str) -> Note | None:
    """Return the note for this page of a caller, which no later one shows."""
    value = request.cookies.get(COOKIE)
    if value is None:
        return None

    @after_this_request
    def forget(response: Response) -> Response:
        response.delete_cookie(COOKIE, httponly=True, samesite="Lax")
        return response

    token, _, encoded = value.partition(".")
    if len(encoded) > _LONGEST:
        return None
    try:
        text = urlsafe_b64decode(encoded).decode()
        nonce = nonce_of(request)
        if not api.form_tokens.matches(current_app, caller, nonce, token, _USE + text):
            return None
        shown, tone, link, undo = json.loads(text)
    except ValueError:
        return None
    return Note(shown, tone, link, Action(*undo) if undo else None)
