"""The contract's routes as data, and what it takes for an answer to follow it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from werkzeug.test import TestResponse

ROUTES = Path(__file__).with_name("routes.json")
Schema = Mapping[str, Any]
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}"
    r"(?:\.(?P<fraction>[0-9]{3}|[0-9]{6}|[0-9]{9}))?Z"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One route of the contract.

    Args:
        id: Its name there.
        origin: ``upstream`` for the reference's routes, ``addition`` for ours.
        method: The method.
        path: With ``{name}`` placeholders.
        status: Of success.
        kind: What the body is: ``object``, ``array``, ``string``, ``boolean``,
            ``integer``, ``text`` or ``empty``.
        content_type: Of the answer; None for an empty one.
        schema: JSON Schema of the body, with ``x-key-order`` and ``x-format``.
        client: What the reference's client sends, if it calls the route.
    """

    id: str
    origin: str
    method: str
    path: str
    status: int
    kind: str
    content_type: str | None
    schema: Schema | None
    client: Mapping[str, Any] | None

    @property
    def place(self) -> tuple[str, str]:
        """Method and path, whatever the placeholders are called."""
        return self.method, re.sub(r"\{[^}]+\}", "{}", self.path)


@cache
def entries(origin: str) -> tuple[Entry, ...]:
    """Return the contract's routes of one origin."""
    documents = json.loads(ROUTES.read_text(encoding="utf-8"))
    names = Entry.__slots__
    return tuple(
        Entry(**{name: each.get(name) for name in names})
        for each in documents
        if each["origin"] == origin
    )


def place_of(method: str, path: str) -> tuple[str, str]:
    """Return the place of one of our routes, as :attr:`Entry.place` does."""
    return method, re.sub(r"<[^>]+>", "{}", path)


def assert_follows(entry: Entry, answer: TestResponse) -> None:
    """Check status, content type, bytes, shape and key order of an answer."""
    assert answer.status_code == entry.status, answer.text
    if entry.kind == "empty":
        assert answer.data == b""
        assert "Content-Type" not in answer.headers
        return
    assert answer.headers["Content-Type"] == entry.content_type
    if entry.kind == "text":
        return
    assert entry.schema is not None
    document = json.loads(answer.data)
    compact = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    assert answer.data.decode() == compact
    assert int(answer.headers["Content-Length"]) == len(answer.data)
    assert list(faults(entry.schema, document)) == []


def faults(schema: Schema, document: object) -> Iterator[str]:
    """Yield what is wrong with a JSON document: shape, key order, forms."""
    for error in Draft202012Validator(dict(schema)).iter_errors(document):
        yield f"{error.json_path}: {error.message}"
    yield from _form_faults(schema, document, "$")


def _form_faults(schema: Schema, value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        order = schema.get("x-key-order")
        if order is not None and list(value) != order:
            yield f"{path}: keys {list(value)} instead of {order}"
        for key, each in schema.get("properties", {}).items():
            if key in value:
                yield from _form_faults(each, value[key], f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _form_faults(schema.get("items", {}), item, f"{path}[{index}]")
    elif value is not None and schema.get("x-format") == "rfc3339-utc-z-autosi":
        if not is_shortest_instant(value):
            yield f"{path}: {value!r} is not the shortest exact form"
    elif schema.get("x-width") == "f64" and not isinstance(value, float):
        yield f"{path}: {value!r} is written without a fraction"


def is_shortest_instant(value: object) -> bool:
    """Tell whether text is RFC 3339 in UTC with the fewest of 0, 3, 6, 9 digits."""
    match = _INSTANT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return False
    fraction = match["fraction"]
    return fraction is None or not fraction.endswith("000")
