"""JSON documents to keyword arguments.

``Schema.load`` costs a third of the checks of a request. :func:`loaded` reads the
fields of a schema once, those of nested ones too; whatever is no plain success goes to
``Schema.load``, so every error is marshmallow's. A test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, cast

from marshmallow import EXCLUDE, Schema, ValidationError, missing
from marshmallow.fields import Field, Nested

from flask_forge_jobs.api.schemas.fields import Array, StrictField, V1Schema
from flask_forge_jobs.errors import InvalidInputError

# There are fewer routes and nested schemas.
_MAX_SCHEMAS = 256
# Changes nothing in a document whose keys are all known.
_HARMLESS = V1Schema.keep_one_unknown_key.__name__

Load = Callable[[object], Any]


def loaded(document: object, schema: Schema) -> dict[str, Any]:
    """Return a JSON document loaded by a schema; its first fault is the error."""
    values = _loader(schema)(document)
    if values is not None:
        return cast("dict[str, Any]", values)
    try:
        return cast("dict[str, Any]", schema.load(cast("Mapping[str, Any]", document)))
    except ValidationError as error:
        raise first_fault(error, schema) from error


@lru_cache(_MAX_SCHEMAS)
def _loader(schema: Schema) -> Load:
    """Return a function that loads a document, or returns None."""
    afterwards = _after_load(schema)
    plan = [_step(*each) for each in schema.load_fields.items()]
    if afterwards is None or any("." in name for _, name, *_ in plan):
        return _load_nothing
    takes_any_key = schema.unknown == EXCLUDE

    def load(document: object) -> Any:
        if type(document) is not dict:
            return None
        values: Any = {}
        left = len(document)
        try:
            for key, name, read, may_be_none, is_required, default in plan:
                value = document.get(key, missing)
                if value is missing:
                    if is_required:
                        return None
                    if default is not missing:
                        values[name] = default() if callable(default) else default
                    continue
                left -= 1
                if value is not None:
                    values[name] = read(value)
                elif may_be_none:
                    values[name] = None
                else:
                    return None
            if left and not takes_any_key:
                return None
            for method in afterwards:
                values = method(values, many=False, unknown=schema.unknown)
        except ValidationError:
            return None
        return values

    return load


def _step(name: str, field: Field[Any]) -> tuple[str, str, Load, bool, bool, Any]:
    """Return the key, the name, and what becomes of a value, of none and without."""
    key, name = field.data_key or name, field.attribute or name
    read, default = _reader(field), field.load_default
    return key, name, read, field.allow_none, field.required, default


def _reader(field: Field[Any]) -> Load:
    """Return a function that reads a value, which is not None, as a field does.

    It may refuse what the field does not.
    """
    # The hooks of fields are newer than the oldest marshmallow.
    hooks = *getattr(field, "pre_load", ()), *getattr(field, "post_load", ())
    if field.validators or hooks:
        return field.deserialize
    if isinstance(field, Array):
        return partial(_items, field, _reader(field.inner))
    if isinstance(field, StrictField):
        return field.read
    if isinstance(field, Nested) and not field.many and field.unknown is None:
        load = _loader(field.schema)
        return field.deserialize if load is _load_nothing else partial(_nested, load)
    return field.deserialize


def _items(field: Array[Any], read: Load, value: object) -> object:
    items = field.checked(value)
    return field.deserialize(value) if None in items else [*map(read, items)]


def _nested(load: Load, value: object) -> object:
    values = load(value)
    if values is None:
        raise ValidationError("marshmallow says why")
    return values


def _load_nothing(_: object) -> None:
    """Leave a document to marshmallow."""


def _after_load(schema: Schema) -> list[Callable[..., Any]] | None:
    """Return the methods that get the loaded values; None if others take part."""
    # There is no public way to ask.
    hooks: Mapping[str, list[tuple[str, bool, dict[str, Any]]]] = schema._hooks  # noqa: SLF001
    methods = []
    for tag, named in hooks.items():
        for name, is_of_many, options in named:
            if tag.endswith("dump") or name == _HARMLESS:
                continue
            if tag != "post_load" or is_of_many or options.get("pass_original"):
                return None
            methods.append(getattr(schema, name))
    return methods


def first_fault(error: ValidationError, schema: Schema) -> InvalidInputError:
    """Return the first of marshmallow's errors, in order of declaration."""
    messages = error.messages
    if not isinstance(messages, dict):
        return _fault("body", messages)
    order = [field.data_key or name for name, field in schema.fields.items()]
    # Unknown keys follow the known ones; errors of the whole object come last.
    for key in (*order, *(key for key in messages if key != "_schema")):
        if key in messages:
            return _fault(str(key), messages[key])
    return _fault("body", messages)


def _fault(path: str, messages: object) -> InvalidInputError:
    while isinstance(messages, dict):
        key, messages = next(iter(messages.items()))
        if isinstance(key, int):
            path = f"{path}[{key}]"
        elif key != "_schema":
            path = f"{path}.{key}"
    first = messages[0] if isinstance(messages, list) and messages else messages
    return InvalidInputError(path, str(first))
