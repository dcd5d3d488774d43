"""A form as another encoding of a request's body.

Browsers without script send ``application/x-www-form-urlencoded``: names and texts. The
schema of the route says which JSON value a text stands for, so a form means exactly the
JSON document that a program would send, and is checked, stored and audited as one:

- Texts and instants stay as they are; an instant without an offset, as a browser's own
  control writes it, is in UTC.
- A number, a list of objects and free JSON are read as JSON, a checkbox as a boolean.
- A name that is sent several times makes a list; of a checkbox the last one counts, so
  that a hidden field before it can say "off".
- ``filter.queues`` is the key ``queues`` in the object ``filter``.
- An empty field is left out. In a change of some fields it clears a field that may be
  null.

The hidden fields of our pages begin with an underscore, as no key of the API does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import unquote_to_bytes

from flask import Request
from marshmallow import Schema, missing
from marshmallow.fields import Field, List, Nested
from werkzeug.exceptions import UnsupportedMediaType

from flask_forge_jobs.api.request import MAX_CONTAINERS, read_body
from flask_forge_jobs.api.schemas.fields import AnyJson, Flag, Instant, Text
from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.payloads import MAX_DEPTH, load

FORM_MEDIA_TYPE = "application/x-www-form-urlencoded"
TOKEN_FIELD = "_token"  # noqa: S105  # a field's name
# The address below the mount point to return to.
BACK_FIELD = "_back"
# A whole JSON body, to which the other fields are added.
BODY_FIELD = "_body"
TAG_FIELD = "_if_match"
# Fields that stand for a header of the request.
HEADER_FIELDS: Mapping[str, str] = {
    TAG_FIELD: "If-Match",
    "_request_key": "Idempotency-Key",
}
# A page of 200 jobs has as many checkboxes.
MAX_FIELDS = 1000
MAX_NAME_LENGTH = 256
Form = Mapping[str, Sequence[str]]

_ON, _OFF = ("true", "on", "1"), ("false", "off", "0")
_LOCAL_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?P<seconds>:\d\d(\.\d+)?)?")
_PIECE = 65_536
_TOO_MANY = f"has more than {MAX_FIELDS} fields"


def read_form(request: Request, max_bytes: int) -> Form:
    """Return the fields of a sent form: the values of each name, in their order.

    Raises:
        UnsupportedMediaType: The body is no such form.
        RequestEntityTooLarge: It is longer than ``max_bytes``.
        InvalidInputError: It has too many fields, or is not text.
    """
    if request.mimetype != FORM_MEDIA_TYPE:
        raise UnsupportedMediaType(f"expected Content-Type: {FORM_MEDIA_TYPE}")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("a compressed body is not accepted")
    if "form" in vars(request):
        # A hook of the application has read it, so the body is gone.
        pairs = list(request.form.items(multi=True))
    else:
        pairs = _pairs(read_body(request, max_bytes))
    if len(pairs) > MAX_FIELDS:
        raise InvalidInputError("body", _TOO_MANY)
    form: dict[str, list[str]] = {}
    for name, text in pairs:
        if len(name) > MAX_NAME_LENGTH:
            raise InvalidInputError("body", "has a field with a long name")
        if "\0" in name or "\0" in text:
            raise InvalidInputError(name, "contains a NUL character")
        # Browsers send every line break as two characters.
        form.setdefault(name, []).append(text.replace("\r\n", "\n"))
    return form


def _pairs(body: bytes) -> list[tuple[str, str]]:
    # Counted before anything is made of them.
    if body.count(b"&") >= MAX_FIELDS:
        raise InvalidInputError("body", _TOO_MANY)
    pairs = []
    for piece in body.split(b"&"):
        name, _, text = piece.partition(b"=")
        if piece:
            pairs.append((_decoded(name), _decoded(text)))
    return pairs


def _decoded(text: bytes) -> str:
    try:
        return b"".join(map(unquote_to_bytes, _pieces(text))).decode()
    except UnicodeDecodeError:
        raise InvalidInputError("body", "is not UTF-8") from None


def _pieces(text: bytes) -> Iterator[bytes]:
    """Cut a text: unquoting takes 70 bytes of memory for each byte of escapes."""
    spaced = text.replace(b"+", b" ")
    start = 0
    while start < len(spaced):
        end = start + _PIECE
        escape = spaced.rfind(b"%", end - 2, end)
        end = escape if escape >= 0 else end
        yield spaced[start:end]
        start = end


def first(form: Form, name: str) -> str:
    """Return the first value of a field; empty if there is none."""
    return form[name][0] if name in form else ""


def document_of(form: Form, schema: Schema) -> dict[str, object]:
    """Return the JSON document that a form stands for.

    Raises:
        InvalidInputError: A field that is read as JSON is not JSON, or is sent twice.
    """
    return _Decoder(form).document(schema)


class _Decoder:
    def __init__(self, form: Form) -> None:
        self._form = form
        # Of the JSON in all fields together.
        self._brackets_left = MAX_CONTAINERS

    def document(self, schema: Schema) -> dict[str, object]:
        document: dict[str, object] = {}
        if body := first(self._form, BODY_FIELD):
            whole = self._json(BODY_FIELD, body)
            if not isinstance(whole, dict):
                raise InvalidInputError(BODY_FIELD, "must be an object")
            document = whole
        for name, texts in self._form.items():
            if not name.startswith("_"):
                self._add(document, schema, name, texts)
        return document

    def _add(
        self,
        document: dict[str, object],
        schema: Schema,
        name: str,
        texts: Sequence[str],
    ) -> None:
        key, _, rest = name.partition(".")
        field = _fields(schema).get(key)
        if not (rest and isinstance(field, Nested)):
            value = self._value(field, name, texts) if field else texts[-1]
            if value is not missing:
                document[name] = value
            return
        inner = document.setdefault(key, {})
        if not isinstance(inner, dict):
            raise InvalidInputError(key, "is given as a whole and in parts")
        self._add(inner, field.schema, rest, texts)
        if not inner:
            del document[key]

    def _value(self, field: Field[object], name: str, texts: Sequence[str]) -> object:
        if isinstance(field, List):
            inner = field.inner
            if isinstance(inner, Nested):
                return self._json(name, _only(name, texts))
            values = [self._one(inner, name, text) for text in texts if text]
            return values or missing
        text = texts[-1] if isinstance(field, Flag) else _only(name, texts)
        if text:
            return self._one(field, name, text)
        is_cleared = field.allow_none and field.load_default is missing
        return None if is_cleared and not isinstance(field, AnyJson) else missing

    def _one(self, field: Field[object], name: str, text: str) -> object:
        if isinstance(field, Text):
            return text
        if isinstance(field, Instant):
            match = _LOCAL_INSTANT.fullmatch(text)
            return text if match is None else text + ("Z" if match[1] else ":00Z")
        if isinstance(field, Flag):
            return text in _ON if text in _ON + _OFF else text
        if isinstance(field, AnyJson | Nested):
            return self._json(name, text)
        try:
            return self._json(name, text)
        except InvalidInputError:
            return text  # the field says which numbers it takes

    def _json(self, name: str, text: str) -> object:
        self._brackets_left -= text.count("[") + text.count("{")
        if self._brackets_left < 0:
            raise InvalidInputError(name, "has too many objects and arrays")
        return load(text.encode(), name, max_depth=MAX_DEPTH)


def _only(name: str, texts: Sequence[str]) -> str:
    if len(texts) > 1:
        raise InvalidInputError(name, "is given more than once")
    return texts[0]


def _fields(schema: Schema) -> Mapping[str, Field[object]]:
    return {each.data_key or name: each for name, each in schema.fields.items()}
