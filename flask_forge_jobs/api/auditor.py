"""Writes an audit entry for each change, done or refused, and for each revealed secret.

A change and its entry are stored in one transaction; see
:mod:`flask_forge_jobs.storage.units`. A change in several batches leaves an entry in
each. A refusal is written after the request, and repeated refusals are counted; see
:mod:`flask_forge_jobs.storage.refusals`.

Requests of unknown callers are logged instead, so that strangers cannot fill the table;
so are requests whose database failed, once a minute for each status. Wrong credentials
and missing permissions are logged on every route.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from flask import Request, Response

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.request import RequestState, present_state
from flask_forge_jobs.api.response import REPLAYED_HEADER
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.handlers import audit
from flask_forge_jobs.model.audit import AuditRecord
from flask_forge_jobs.model.log_lines import LogThrottle, one_line
from flask_forge_jobs.storage.request_batches import RequestBatches
from flask_forge_jobs.storage.units import Unit

logger = logging.getLogger(__name__)

MAX_NAME_LENGTH = 256
# Log lines per minute, status and process.
LINES_A_MINUTE = 60
ERROR = 400
REFUSED = (401, 403)
# Keys of an answer that count changed rows.
_COUNTS = ("changed", "enqueued", "done_deleted", "dead_deleted")


def note_edit(before: str, after: str) -> None:
    """Add digests of the old and the new value to the audit entry of this request."""
    present_state().edit = {"before": before, "after": after}


class Auditor:
    """Writes the audit trail of one blueprint."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._log_throttle = LogThrottle(max_lines=LINES_A_MINUTE)
        # While the database is unavailable every change fails.
        self._failure_throttle = LogThrottle()

    def answer(self, route: Route, **placeholders: str) -> Response:
        """Return the answer of a mutating route; store change and entry together."""
        act = self._in_batches if route.in_batches else self._in_one
        return act(present_state(), partial(route.view, **placeholders))

    def _in_one(self, state: RequestState, view: Callable[[Api], Response]) -> Response:
        storage = self._api.storage
        unit = Unit(storage.database, lambda job_id: self._expected(state, 1, job_id))
        api = self._api.on(storage.within(unit), state)

        def work() -> Response:
            state.edit = None  # of an earlier attempt
            response = view(api)
            if not unit.is_noted:
                unit.append(self._record(state, response))
            return response

        try:
            response = unit.run(work)
        finally:
            state.is_noted = unit.is_noted
        state.is_noted = True
        return response

    def _in_batches(
        self, state: RequestState, view: Callable[[Api], Response]
    ) -> Response:
        storage = self._api.storage
        batches = RequestBatches(
            storage.database, lambda changed: self._expected(state, changed)
        )
        response = view(self._api.on(storage.within(batches), state))
        # A call that changes nothing is recorded too, after the request.
        state.is_noted = batches.has_entry
        return response

    def note_reveal(self, response: Response) -> None:
        """Record that a response shows secrets, which is not sent without its entry.

        Raises:
            StorageError: The entry could not be stored.
        """
        state = present_state()
        if response.status_code < ERROR:
            record = replace(self._record(state, response), changed=0)
            self._api.storage.audit.append(record)
            state.is_noted = True

    def __call__(self, state: RequestState, response: Response) -> Response:
        """Record a request unless its view has; return the response unchanged."""
        is_refused = response.status_code in REFUSED
        is_owed = state.route.mutates or state.reveals
        if is_refused or (is_owed and not state.is_noted):
            self._note(state, response, is_owed=is_owed)
        return response

    def _note(self, state: RequestState, response: Response, *, is_owed: bool) -> None:
        is_known = state.principal is not None
        is_kept = is_known and not state.has_storage_failed
        status = response.status_code
        # Refusals are logged even if they are kept.
        is_for_log = not is_kept or status in REFUSED
        throttle = self._log_throttle
        if state.has_storage_failed:
            throttle = self._failure_throttle
        is_logged = is_for_log and throttle.is_time_for(str(status))
        if not (is_logged or (is_owed and is_kept)):
            return
        record = self._record(state, response)
        if is_logged:
            what = "refused" if status in REFUSED else "not in the audit trail"
            more = throttle.more(str(status))
            logger.warning("%s: %s%s", what, _line(record), more)
        if is_owed and is_kept:
            self._keep(record)

    def _keep(self, record: AuditRecord) -> None:
        try:
            if record.status >= ERROR:
                self._api.storage.refusals.add(record)
            else:
                self._api.storage.audit.append(record)
        # The change is stored, so the caller must not see a failure.
        except StorageError as error:
            logger.error("not in the audit trail: %s; %s", _line(record), error)  # noqa: TRY400
        except Exception:
            logger.exception("the audit trail could not be written: %s", _line(record))

    def _expected(
        self, state: RequestState, changed: int, job_id: str | None = None
    ) -> AuditRecord:
        """Return the entry that a request will have if it succeeds."""
        status = state.route.status
        target = _target(state.request, status, job_id)
        return self._new_record(state, target, status, changed)

    def _record(self, state: RequestState, response: Response) -> AuditRecord:
        status = response.status_code
        answer = response.get_json(silent=True) if response.is_json else None
        target = _target(state.request, status, answer)
        changed = _changed(response, answer, state.document)
        return self._new_record(state, target, status, changed)

    def _new_record(
        self, state: RequestState, target: str | None, status: int, changed: int
    ) -> AuditRecord:
        request = state.request
        actor = state.principal.id if state.principal else "nobody"
        sent = {
            "query": request.args.to_dict() if request.query_string else None,
            "body": state.document,
            "edit": state.edit,
        }
        arguments = {key: value for key, value in sent.items() if value}
        is_short = (request.content_length or 0) <= audit.SHOWN_LENGTH
        return AuditRecord(
            actor=one_line(actor, MAX_NAME_LENGTH),
            action=state.route.action,
            target=target,
            address=one_line(request.environ.get("REMOTE_ADDR", ""), MAX_NAME_LENGTH),
            request_id=state.id,
            status=status,
            changed=changed,
            arguments=audit.arguments_text(
                arguments, self._api.masking_redactor, is_short=is_short
            ),
        )


def _line(record: AuditRecord) -> str:
    facts = (
        f"{record.status} {record.action} by {record.actor} from {record.address}, "
        f"request {record.request_id}, target {record.target}, "
        f"arguments {record.arguments}"
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
    """Return how many rows were changed, according to the answer."""
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
