"""Leaves an entry in the audit trail for each mutation, done or refused.

What a request changes and its entry are one transaction; see
:mod:`flask_forge_jobs.storage.units`. What is changed in several leaves an entry in
each. A refusal follows the request, and what is refused again and again is counted; see
:mod:`flask_forge_jobs.storage.audit`. A read that shows unmasked payloads leaves an
entry too.

A request that nobody is known for leaves a line in the log of the server instead, or a
stranger could fill the table; so does one whose database failed. Wrong credentials and
missing permissions leave one whatever was asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from flask import Request, Response

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.request_state import RequestState, present_state
from flask_forge_jobs.api.response import REPLAYED_HEADER
from flask_forge_jobs.api.routes import V1_ENDPOINT_PREFIX, Route
from flask_forge_jobs.handlers import audit
from flask_forge_jobs.model.audit import Deed
from flask_forge_jobs.model.one_line import one_line
from flask_forge_jobs.model.seldom import Seldom
from flask_forge_jobs.storage.units import Batches, Unit

logger = logging.getLogger(__name__)

MAX_NAME_LENGTH = 256
# Lines of the log within a minute about requests with one status, for each process.
LINES_A_MINUTE = 60
ERROR = 400
# Wrong credentials, missing permissions.
REFUSED = (401, 403)
# Keys of an answer that say how many rows were changed.
_COUNTS = ("changed", "enqueued", "done_deleted", "dead_deleted")


def note_edit(before: str, after: str) -> None:
    """Put into the present request's entry what was there and what is there now.

    Args:
        before: A digest of it.
        after: Likewise; the same when nothing had to change.
    """
    present_state().edit = {"before": before, "after": after}


class Auditor:
    """Writes the audit trail of one blueprint.

    Args:
        api: What the views are given.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._seldom = Seldom(most=LINES_A_MINUTE)

    def view(self, route: Route) -> Callable[..., Response]:
        """Return a function that answers as the view of a route that changes things.

        What it changes is stored together with its entry, or not at all.
        """
        act = self._in_batches if route.in_batches else self._in_one

        def answer(**placeholders: str) -> Response:
            view = partial(route.view, self._api, **placeholders)
            return act(present_state(), view)

        return answer

    def _in_one(self, state: RequestState, view: Callable[[], Response]) -> Response:
        unit = Unit(lambda job_id: self._expected(state, 1, job_id))

        def work() -> Response:
            state.edit = None  # of a try before
            response = view()
            if not unit.is_noted:
                audit.record(self._api.storage, self._deed(state, response))
            return response

        try:
            response = unit.run(work)
        finally:
            state.is_noted = unit.is_noted
        state.is_noted = True
        return response

    def _in_batches(
        self, state: RequestState, view: Callable[[], Response]
    ) -> Response:
        batches = Batches(lambda changed: self._expected(state, changed))
        with batches.running():
            response = view()
        # Nothing was changed, and that is to be known too.
        state.is_noted = bool(batches.entries)
        return response

    def __call__(self, state: RequestState, response: Response) -> Response:
        """Note what else a request came to, and return its answer as it is."""
        is_refused = response.status_code in REFUSED
        is_owed = state.route.mutates or state.reveals
        if is_refused or (is_owed and not state.is_noted):
            self._note(state, response, is_owed=is_owed)
        return response

    def _note(self, state: RequestState, response: Response, *, is_owed: bool) -> None:
        is_known = state.principal is not None
        is_kept = is_known and not state.has_storage_failed
        is_told = self._is_told(response.status_code, is_kept=is_kept)
        if not (is_told or (is_owed and is_kept)):
            return
        deed = self._deed(state, response)
        if not state.route.mutates:
            deed = replace(deed, changed=0)
        if is_told:
            what = "refused" if deed.status in REFUSED else "not in the audit trail"
            more = self._seldom.more(str(deed.status))
            logger.warning("%s: %s%s", what, _line(deed), more)
        if is_owed and is_kept:
            self._keep(deed)

    def _is_told(self, status: int, *, is_kept: bool) -> bool:
        """Whether to leave a line in the log; of many with one status only some."""
        if is_kept and status not in REFUSED:
            return False
        return self._seldom.is_time_for(str(status))

    def _keep(self, deed: Deed) -> None:
        try:
            if deed.status >= ERROR:
                self._api.storage.refusals.add(deed)
            else:
                audit.record(self._api.storage, deed)
        except Exception:
            # What was done is done; the caller must not take it for a failure.
            logger.exception("the audit trail could not be written: %s", _line(deed))

    def _expected(
        self, state: RequestState, changed: int, job_id: str | None = None
    ) -> Deed:
        """Return the entry of a request that will have been successful."""
        status = state.route.status
        target = _target(state.request, status, job_id)
        return self._new_deed(state, target, status, changed)

    def _deed(self, state: RequestState, response: Response) -> Deed:
        status = response.status_code
        answer = response.get_json(silent=True) if response.is_json else None
        target = _target(state.request, status, answer)
        changed = _changed(response, answer, state.document)
        return self._new_deed(state, target, status, changed)

    def _new_deed(
        self, state: RequestState, target: str | None, status: int, changed: int
    ) -> Deed:
        request = state.request
        actor = state.principal.id if state.principal else "nobody"
        sent = {
            "query": request.args.to_dict(),
            "body": state.document,
            "edit": state.edit,
        }
        arguments = {key: value for key, value in sent.items() if value}
        return Deed(
            actor=one_line(actor, MAX_NAME_LENGTH),
            action=state.route.endpoint.removeprefix(V1_ENDPOINT_PREFIX),
            target=target,
            address=one_line(request.environ.get("REMOTE_ADDR", ""), MAX_NAME_LENGTH),
            request_id=state.id,
            status=status,
            changed=changed,
            arguments=audit.arguments_text(arguments, self._api.masking_redactor),
        )


def _line(deed: Deed) -> str:
    facts = (
        f"{deed.status} {deed.action} by {deed.actor} from {deed.address}, request "
        f"{deed.request_id}, target {deed.target}, arguments {deed.arguments}"
    )
    return one_line(facts)


def _target(request: Request, status: int, answer: object) -> str | None:
    for value in (request.view_args or {}).values():
        return one_line(str(value), MAX_NAME_LENGTH)
    if status >= ERROR:
        return None
    named = answer
    if isinstance(answer, dict):
        named = answer.get("id") or answer.get("name")
    return one_line(named, MAX_NAME_LENGTH) if isinstance(named, str) else None


def _changed(response: Response, answer: object, document: object) -> int:
    """Return how many rows an answer says were changed."""
    is_dry = isinstance(document, dict) and document.get("dry_run") is True
    is_deduped = "true" in (
        response.headers.get("X-Job-Deduped"),
        response.headers.get(REPLAYED_HEADER),
    )
    if response.status_code >= ERROR or is_dry or is_deduped:
        return 0
    if isinstance(answer, int):
        return int(answer)
    if isinstance(answer, dict):
        if answer.get("deduped") is True:
            return 0
        counts = [answer[key] for key in _COUNTS if isinstance(answer.get(key), int)]
        if counts:
            return int(sum(counts))
    return 1
