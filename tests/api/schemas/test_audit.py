from __future__ import annotations

from datetime import UTC, datetime

import pytest
from marshmallow import ValidationError

from flask_forge_jobs.api.schemas.audit import AuditQuerySchema
from flask_forge_jobs.model.audit import AuditFilter


def test_query_loads_as_the_arguments_of_the_handler() -> None:
    assert AuditQuerySchema().load(
        {"actor": "ada", "from": "2027-01-01T00:00:00Z"}
    ) == {
        "audit_filter": AuditFilter(
            actor="ada", start=datetime(2027, 1, 1, tzinfo=UTC)
        ),
        "limit": 100,
        "cursor": None,
    }


def test_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError):
        AuditQuerySchema().load({"actro": "ada"})
