from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.handlers import audit
from flask_forge_jobs.handlers.audit import MAX_ARGUMENTS_LENGTH, arguments_text
from flask_forge_jobs.handlers.redaction import Redactor
from flask_forge_jobs.model.audit import AuditFilter, AuditRecord
from flask_forge_jobs.model.secret_keys import SecretKeys
from flask_forge_jobs.storage.base import Storage

RECORD = AuditRecord("ada", "jobs_retry", None, "::1", "r-1", 200, 0, "{}")


def _text(document: object) -> Any:
    text = arguments_text(document, Redactor())
    assert len(text) <= MAX_ARGUMENTS_LENGTH
    return json.loads(text)


def test_pages_are_chained_by_their_cursor(storage: Storage) -> None:
    for number in range(5):
        storage.audit.append(replace(RECORD, changed=number))

    seen, cursor = [], None
    while True:
        page = audit.list_entries(storage, AuditFilter(), limit=2, cursor=cursor)
        seen += [entry.record.changed for entry in page.rows]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert seen == [4, 3, 2, 1, 0]


def test_last_page_that_is_full_has_no_cursor(storage: Storage) -> None:
    storage.audit.append(RECORD)

    assert audit.list_entries(storage, AuditFilter(), limit=1).next_cursor is None


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "-",
        "1",
        "1-",
        "-1",
        "1-1-1",
        "a-b",
        "\u0661-\u0661",
        "1" * 19 + "-1",
        "9" * 18 + "-1",
    ],
)
def test_cursor_of_somebody_else_is_refused(storage: Storage, cursor: str) -> None:
    with pytest.raises(InvalidInputError, match="cursor"):
        audit.list_entries(storage, AuditFilter(), cursor=cursor)


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("actor", AuditFilter(actor="")),
        ("action", AuditFilter(action="x" * 513)),
        ("target", AuditFilter(target="\0")),
        (
            "from",
            AuditFilter(
                start=datetime(2027, 1, 2, tzinfo=UTC),
                end=datetime(2027, 1, 1, tzinfo=UTC),
            ),
        ),
    ],
)
def test_filter_out_of_bounds_names_its_field(
    storage: Storage, field: str, wanted: AuditFilter
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        audit.list_entries(storage, wanted)

    assert caught.value.field == field


@pytest.mark.parametrize("limit", [0, 1001, -1])
def test_limit_is_bounded(storage: Storage, limit: int) -> None:
    with pytest.raises(InvalidInputError, match="limit"):
        audit.list_entries(storage, AuditFilter(), limit=limit)


def test_sec_S37_secrets_are_masked_in_arguments() -> None:
    document = {
        "body": {"payload": {"token": "canary", "to": [{"password": "canary"}]}}
    }

    assert "canary" not in json.dumps(_text(document))
    assert _text(document)["body"]["payload"]["to"] == [{"password": "[redacted]"}]


def test_long_parts_are_cut_and_say_so() -> None:
    document = {"ids": [f"id-{n}" for n in range(10_000)], "note": "x" * 5_000}

    cut = _text(document)

    assert cut["ids"][:2] == ["id-0", "id-1"]
    assert cut["ids"][-1] == "... (9980 more)"
    assert cut["note"] == "x" * 200 + "..."


def test_wide_and_deep_documents_are_cut() -> None:
    deep: Any = "end"
    for _ in range(60):
        deep = [deep]
    wide = {f"key {n}": n for n in range(1000)}

    assert "end" not in json.dumps(_text(deep))
    assert _text(wide)["..."] == "... (980 more)"


def test_of_very_many_texts_the_last_are_left_out() -> None:
    """Masking all of them would take longer than the request itself."""
    text = f"{'x' * 1990} ghp_{'a1' * 18}"

    shown = _text({"notes": [{"n": text}] * 20})

    assert [each["n"] for each in shown["notes"]][14:18] == [
        "x" * 200 + "...", "x" * 200 + "...", "...", "...",
    ]  # fmt: skip
    assert "ghp_" not in json.dumps(shown)


def test_sec_S37_token_at_the_cut_is_masked_whole() -> None:
    token = "ghp_" + "a1" * 18

    assert "ghp_" not in json.dumps(_text({"note": "x" * 189 + " " + token}))


def test_of_a_bulk_request_only_what_is_kept_is_masked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    hidden = SecretKeys.hidden

    def counting(keys: SecretKeys, key: str) -> tuple[bool, bool]:
        asked.append(key)
        return hidden(keys, key)

    monkeypatch.setattr(SecretKeys, "hidden", counting)
    items = [{"kind": "k", "payload": {f"k{m}": "v" for m in range(50)}}] * 1000

    arguments_text({"body": {"items": items}}, Redactor())

    assert 0 < len(asked) < 1000


def test_what_is_still_too_long_is_left_out() -> None:
    document = {f"{n}": ["x" * 200] * 20 for n in range(20)}

    assert list(_text(document)) == ["omitted_characters"]
