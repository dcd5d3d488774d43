"""Sets of rows are passed as one JSON parameter."""

from __future__ import annotations

import json

from flask_forge_jobs.storage.database import encode_names, encode_rows


def test_rows_become_compact_json() -> None:
    assert encode_rows([{"id": "a", "run": 1}, {"id": "b"}]) == (
        '[{"id":"a","run":1},{"id":"b"}]'
    )
    assert encode_rows([]) == "[]"


def test_names_become_a_column() -> None:
    assert encode_names("job_id", ["a", "b"]) == '[{"job_id":"a"},{"job_id":"b"}]'
    assert encode_names("job_id", ()) == "[]"


def test_any_text_survives() -> None:
    text = 'quote " backslash \\ percent % colon : newline \n 🙂 é'

    encoded = encode_names("name", [text])

    assert encoded.isascii()
    assert json.loads(encoded) == [{"name": text}]
