"""Leaves an entry in the audit trail for each mutation, done or refused.

A read that shows unmasked payloads leaves one too.

The entry follows the mutation in a transaction of its own: what the answer says decides
what the entry says. A request that nobody is known for leaves a line in the log of the
server instead, or a stranger could fill the table; so does one that a limit turned
away, and one whose database failed.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from flask import Request, Response, g

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.exchange import Exchange
from flask_forge_jobs.api.request_ids import request_id
from flask_forge_jobs.api.response import REPLAYED_HEADER
from flask_forge_jobs.api.routes import V1_ENDPOINT_PREFIX
from flask_forge_jobs.handlers import audit
from flask_forge_jobs.model.audit import Deed
from flask_forge_jobs.model.one_line import one_line

logger = logging.getLogger(__name__)

MAX_NAME_LENGTH = 256
ERROR = 400
TOO_MANY_REQUESTS = 429
# Keys of an answer that say how many rows were changed.
_COUNTS = ("changed", "enqueued", "done_deleted", "dead_deleted")


def note_edit(before: str, after: str) -> None:
    """Put into the present request's entry what was there and what is there now.

    Args:
        before: A digest of it.
        after: Likewise; the same when nothing had to change.
    """
    g.forge_jobs_edit = {"before": before, "after": after}


class Auditor:
    """Writes the audit trail of one blueprint.

    Args:
        api: What the views are given.
    """

    def __init__(self, api: Api) -> None:
        self._api = api

    def __call__(self, exchange: Exchange, response: Response) -> Response:
        """Note what a request did and return its answer as it is."""
        if exchange.route.mutates or exchange.reveals:
            self._note(exchange, response)
        return response

    def _note(self, exchange: Exchange, response: Response) -> None:
        principal = exchange.principal
        deed = self._deed(exchange, response)
        if not exchange.route.mutates:
            deed = replace(deed, changed=0)
        is_refused_early = (
            principal is None or response.status_code == TOO_MANY_REQUESTS
        )
        if is_refused_early or "forge_jobs_storage_failed" in g:
            logger.warning("not in the audit trail: %s", _line(deed))
            return
        try:
            audit.record(self._api.storage, deed)
        except Exception:
            # What was done is done; the caller must not take it for a failure.
            logger.exception("the audit trail could not be written: %s", _line(deed))

    def _deed(self, exchange: Exchange, response: Response) -> Deed:
        request = exchange.request
        actor = exchange.principal.id if exchange.principal else "nobody"
        document = g.get("forge_jobs_document")
        sent = {
            "query": request.args.to_dict(),
            "body": document,
            "edit": g.get("forge_jobs_edit"),
        }
        arguments = {key: value for key, value in sent.items() if value}
        answer = response.get_json(silent=True) if response.is_json else None
        return Deed(
            actor=one_line(actor, MAX_NAME_LENGTH),
            action=exchange.route.endpoint.removeprefix(V1_ENDPOINT_PREFIX),
            target=_target(request, response, answer),
            address=one_line(request.environ.get("REMOTE_ADDR", ""), MAX_NAME_LENGTH),
            request_id=request_id(),
            status=response.status_code,
            changed=_changed(response, answer, document),
            arguments=audit.arguments_text(arguments, self._api.masking_redactor),
        )


def _line(deed: Deed) -> str:
    facts = (
        f"{deed.status} {deed.action} by {deed.actor} from {deed.address}, request "
        f"{deed.request_id}, target {deed.target}, arguments {deed.arguments}"
    )
    return one_line(facts)


def _target(request: Request, response: Response, answer: object) -> str | None:
    for value in (request.view_args or {}).values():
        return one_line(str(value), MAX_NAME_LENGTH)
    if response.status_code >= ERROR:
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
