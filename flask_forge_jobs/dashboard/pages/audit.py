"""The audit trail: who changed what, and with which result."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from flask import request
from werkzeug.utils import cached_property

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.dashboard.audit_words import in_words
from flask_forge_jobs.dashboard.page import page
from flask_forge_jobs.dashboard.parameters import Parameters
from flask_forge_jobs.handlers.audit import list_entries
from flask_forge_jobs.handlers.cursors import Page, page_at
from flask_forge_jobs.model.audit import AuditEntry, AuditFilter

PAGE_SIZES = (10, 25, 50)
DEFAULT_PAGE_SIZE = 50


class Trail:
    """The entries that match."""

    def __init__(self, api: Api, parameters: Parameters) -> None:
        self._api = api
        self.actor = parameters.text("actor")
        self.action = parameters.text("action")
        self.target = parameters.text("target")
        self.start = parameters.instant("from")
        self.end = parameters.instant("to")
        self.per = parameters.number("per", PAGE_SIZES, DEFAULT_PAGE_SIZE)
        self.cursor = parameters.text("cursor") or None

    @property
    def is_filtered(self) -> bool:
        """Whether some entries are left out."""
        texts = self.actor or self.action or self.target
        return bool(texts or self.start or self.end)

    @cached_property
    def page(self) -> Page[AuditEntry]:
        """The entries of this page, the newest first; the first page if in doubt."""
        key = (self.actor, self.action, self.target, *self._between)
        return self._api.snapshots.get(
            ("audit", *key, self.per, self.cursor), self._read
        )

    def _read(self) -> Page[AuditEntry]:
        start, end = self._between
        chosen = AuditFilter(
            self.actor or None, self.action or None, self.target or None, start, end
        )
        storage = self._api.storage
        return page_at(
            lambda at: list_entries(storage, chosen, limit=self.per, cursor=at),
            self.cursor,
        )

    @property
    def _between(self) -> tuple[datetime | None, datetime | None]:
        if self.start and self.end and self.start > self.end:
            return self.end, self.start
        return self.start, self.end


def audit(api: Api) -> Mapping[str, object]:
    """Show the audit trail."""
    parameters = Parameters(request)
    trail = Trail(api, parameters)
    return {"trail": trail, "in_words": in_words, "query": parameters.kept}


ROUTES = (
    page(
        "/audit", audit, permission=Permission.ADMIN, blocks=("entries",),
        nav="Audit", icon="audit", order=42, key="a",
    ),
)  # fmt: skip
