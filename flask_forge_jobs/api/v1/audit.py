"""The audit trail."""

from __future__ import annotations

from flask import Response

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.response import linked
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.schemas.audit import AuditPageSchema, AuditQuerySchema
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers import audit


def list_audit(api: Api) -> Response:
    """Return the audit trail, the newest entry first."""
    page = audit.list_entries(api.storage, **api.query())
    return linked(api.answer(page), page.next_cursor)


ROUTES = (
    Route(
        view=list_audit, permission=Permission.ADMIN, query=AuditQuerySchema(),
        answer=AuditPageSchema(), gives=("Link",),
    ),
)  # fmt: skip
