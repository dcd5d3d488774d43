"""Conversions: turns annotated arguments into JSON and back.

The supported types are text, numbers, booleans and None; lists, tuples and dicts with
text keys; ``datetime``, ``date``, ``time``, ``timedelta``, ``Decimal``, ``UUID``,
``Path``, enumerations, dataclasses and typed dicts; literals; and unions whose members
differ in JSON. ``Any`` takes any JSON value.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache, partial
from operator import attrgetter
from typing import Any, ForwardRef, Literal, TypeVar, get_args, get_origin

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import LONGEST_PATH, shown, with_article
from flask_forge_jobs.tasks.failures import describe_failure
from flask_forge_jobs.tasks.scalars import (
    FORMS,
    SCALARS,
    Conversion,
    Convert,
    FailedCheckError,
    UnsupportedError,
    enumeration,
    literal,
    refuse,
)

_LISTS = (
    list, collections.abc.Sequence, collections.abc.MutableSequence,
    collections.abc.Collection, collections.abc.Iterable,
)  # fmt: skip
_DICTS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_INSTEAD: dict[type, str] = {
    set: "a list",
    frozenset: "a list",
    bytes: "text, such as its base64",
    bytearray: "text, such as its base64",
}


def conversion_of(annotation: Any) -> Conversion:
    """Return the conversion of an annotation, or raise UnsupportedError."""
    annotation = _stripped(annotation)
    if annotation in (Any, object) or isinstance(annotation, str | ForwardRef):
        return ANYTHING
    if annotation in SCALARS:
        return SCALARS[annotation]
    origin = get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return _union([conversion_of(each) for each in get_args(annotation)])
    if origin is Literal:
        return literal(get_args(annotation))
    base = origin or annotation
    if base in _LISTS:
        return _listed(get_args(annotation))
    if base is tuple:
        return _tuple(get_args(annotation))
    if base in _DICTS:
        return _dict(get_args(annotation))
    if isinstance(base, type):
        return _of_class(base)
    raise UnsupportedError(f"{annotation!r} is not JSON")


def _stripped(annotation: Any) -> Any:
    """Return the type behind aliases, new types and markers."""
    while True:
        if isinstance(annotation, TypeVar):
            return annotation.__bound__ or Any
        if isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif get_origin(annotation) in _MARKS:
            annotation = get_args(annotation)[0]
        elif type(annotation).__name__ == "TypeAliasType":  # of Python 3.12
            return Any
        else:
            return type(None) if annotation is None else annotation


_MARKS = (typing.Annotated, typing.Required, typing.NotRequired)


# -- plain values ----------------------------------------------------------------------


def _anything(value: Any, path: str) -> Any:
    kind = type(value)
    if kind in FORMS:
        return value  # its contents are checked when it is stored
    wants = (
        "annotate the parameter with its type, or pass text"
        if unless_unsupported(kind).forms
        else f"pass {_instead(kind)}"
    )
    raise InvalidInputError(path, f"{shown(value)} is not JSON; {wants}")


def _instead(kind: type) -> str:
    return next(
        (text for each, text in _INSTEAD.items() if issubclass(kind, each)),
        "what identifies it, such as its id",
    )


ANYTHING = Conversion(
    "JSON", frozenset(FORMS.values()), frozenset(FORMS), _anything, _anything
)


# -- containers ------------------------------------------------------------------------

# The same in JSON, so that each is taken for the other.
_ARRAYS = (list, tuple)


def _listed(args: Sequence[Any]) -> Conversion:
    item = conversion_of(args[0]) if args else ANYTHING
    if item is ANYTHING:
        return _container("a list", _ARRAYS)

    def encode(value: Any, path: str) -> Any:
        if type(value) not in _ARRAYS:
            refuse(value, path, "a list")
        return _each(value, item, item.encode, path)

    def decode(value: Any, path: str) -> Any:
        if type(value) is not list:
            refuse(value, path, "a list")
        return _each(value, item, item.decode, path)

    return Conversion(
        "a list",
        frozenset({"array"}),
        frozenset(),
        encode,
        decode if item.changes else encode,
    )


def _each(
    values: Sequence[Any], item: Conversion, convert: Convert, path: str
) -> Sequence[Any]:
    if item.plain.issuperset(map(type, values)):
        return values
    path = path[:LONGEST_PATH]
    return [convert(each, f"{path}[{n}]") for n, each in enumerate(values)]


def _tuple(args: Sequence[Any]) -> Conversion:
    is_open = not args or args[-1] is Ellipsis
    items = [conversion_of(each) for each in args if each is not Ellipsis] or [ANYTHING]
    wants = "a tuple" if is_open else f"a tuple of {len(items)}"

    def pairs(
        value: Any, kinds: tuple[type[Sequence[Any]], ...], path: str
    ) -> Iterator[tuple[Any, ...]]:
        if not isinstance(value, kinds) or not (is_open or len(value) == len(items)):
            refuse(value, path, wants)
        path = path[:LONGEST_PATH]
        for n, each in enumerate(value):
            yield items[0 if is_open else n], each, f"{path}[{n}]"

    def encode(value: Any, path: str) -> Any:
        triples = pairs(value, _ARRAYS, path)
        return [item.encode(each, place) for item, each, place in triples]

    def decode(value: Any, path: str) -> Any:
        triples = pairs(value, (list,), path)
        return tuple(item.decode(each, place) for item, each, place in triples)

    return Conversion(wants, frozenset({"array"}), frozenset(), encode, decode)


def _dict(args: Sequence[Any]) -> Conversion:
    if args and _stripped(args[0]) not in (str, Any, object):
        raise UnsupportedError("the keys of JSON are text; pass a dict of text keys")
    item = conversion_of(args[1]) if args else ANYTHING
    if item is ANYTHING:
        return _container("a dict", (dict,))
    return _Object("a dict", dict, dict.items, lambda _: item, dict).conversion()


def _container(wants: str, accepted: tuple[type, ...]) -> Conversion:
    """Return the conversion of a container of any JSON, checked when it is stored."""

    def take(value: Any, path: str) -> Any:
        if type(value) not in accepted:
            refuse(value, path, wants)
        return value

    forms = frozenset(FORMS[each] for each in accepted)
    return Conversion(wants, forms, frozenset(accepted), take, take)


@dataclass(frozen=True, slots=True)
class _Object:
    """A value that is a JSON object; ``wants`` names its type in errors."""

    wants: str
    kind: type
    items_of: Callable[[Any], Iterable[tuple[str, Any]]]
    member: Callable[[str], Conversion | None]
    make: Callable[[dict[str, Any]], Any]
    required: Callable[[], Iterable[str]] = tuple

    def conversion(self) -> Conversion:
        return Conversion(
            self.wants, frozenset({"object"}), frozenset(), self._encode, self._decode
        )

    def _encode(self, value: Any, path: str) -> Any:
        if type(value) is not self.kind:
            refuse(value, path, self.wants)
        return self._converted(self.items_of(value), path, lambda each: each.encode)

    def _decode(self, value: Any, path: str) -> Any:
        if type(value) is not dict:
            refuse(value, path, self.wants)
        members = self._converted(value.items(), path, lambda each: each.decode)
        try:
            return self.make(members)
        except Exception as error:  # the checks of the class
            why = describe_failure(error)
            raise FailedCheckError(path, self.wants, why) from error

    def _converted(
        self,
        items: Iterable[tuple[str, Any]],
        path: str,
        verb: Callable[[Conversion], Convert],
    ) -> dict[str, Any]:
        converted = {}
        path = path[:LONGEST_PATH]
        for name, value in items:
            conversion = self.member(name) if type(name) is str else None
            if conversion is None:
                raise InvalidInputError(
                    path, f"{shown(name)} is not a key of {self.wants}"
                )
            converted[name] = verb(conversion)(value, f"{path}.{name}")
        for name in self.required():
            if name not in converted:
                raise InvalidInputError(f"{path}.{name}", "is missing")
        return converted


# -- classes ---------------------------------------------------------------------------


@lru_cache(256)
def _of_class(kind: type) -> Conversion:
    if issubclass(kind, Enum):
        return enumeration(kind)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind)
    if hasattr(kind, "__required_keys__"):
        return _typed_dict(kind)
    raise UnsupportedError(
        f"{with_article(kind.__name__)} is not JSON; pass {_instead(kind)}"
    )


def _dataclass(kind: Any) -> Conversion:
    names = [each.name for each in dataclasses.fields(kind) if each.init]
    parameters = inspect.signature(kind).parameters.values()
    needed = [each.name for each in parameters if each.default is each.empty]
    if not set(needed) <= set(names):
        raise UnsupportedError(
            f"a {kind.__name__} takes more than its fields; pass them as arguments"
        )
    hints = _hints_of(kind)
    return _Object(
        f"a {kind.__name__}",
        kind,
        lambda value: ((name, getattr(value, name)) for name in names),
        _members(hints, names),
        lambda members: kind(**members),
        lambda: needed,
    ).conversion()


def _typed_dict(kind: Any) -> Conversion:
    hints = _hints_of(kind)
    names = kind.__required_keys__ | kind.__optional_keys__

    def required() -> set[str]:
        # With postponed annotations the class itself does not see the markers.
        marks = {name: get_origin(hint) for name, hint in hints().items()}
        marked = {name for name in names if marks.get(name) is typing.Required}
        unmarked = {name for name in names if marks.get(name) is typing.NotRequired}
        return (marked | set(kind.__required_keys__)) - unmarked

    return _Object(
        f"a {kind.__name__}", dict, dict.items, _members(hints, names), dict, required
    ).conversion()


def _hints_of(kind: type) -> Callable[[], Mapping[str, Any]]:
    """Return a function that reads the annotations of a class at its first call.

    By then the class, and those below it in its module, can be referred to.
    """

    @lru_cache(1)
    def hints() -> Mapping[str, Any]:
        try:
            return typing.get_type_hints(kind, include_extras=True)
        except Exception:  # noqa: BLE001  # a name that only a type checker imports
            return {}

    return hints


def _members(
    hints: Callable[[], Mapping[str, Any]], names: Iterable[str]
) -> Callable[[str], Conversion | None]:
    known = frozenset(names)

    @lru_cache(1)
    def conversions() -> Mapping[str, Conversion]:
        annotations = hints()
        return {name: unless_unsupported(annotations.get(name, Any)) for name in known}

    return lambda name: conversions().get(name)


def unless_unsupported(annotation: Any) -> Conversion:
    """Return the conversion of an annotation, or one that refuses every value."""
    try:
        return conversion_of(annotation)
    except UnsupportedError as error:
        why = str(error)

    def fail(value: Any, path: str) -> typing.NoReturn:
        del value
        raise InvalidInputError(path, why)

    return Conversion("", frozenset(), frozenset(), fail, fail)


# -- unions ----------------------------------------------------------------------------


def _union(members: Sequence[Conversion]) -> Conversion:
    """Return the conversion of a union, whose members must differ in JSON."""
    changing = [each for each in members if each.changes]
    for each in changing:
        for other in members:
            if other is not each and each.forms & other.forms:
                raise UnsupportedError(
                    f"{each.wants} and {other.wants} are the same in JSON; use one"
                )
    wants = " or ".join(dict.fromkeys(each.wants for each in members))
    encode = partial(_first, members, attrgetter("encode"), wants)
    return Conversion(
        wants,
        frozenset().union(*(each.forms for each in members)),
        frozenset().union(*(each.plain for each in members)),
        encode,
        partial(_first, members, attrgetter("decode"), wants) if changing else encode,
    )


def _first(
    members: Sequence[Conversion],
    verb: Callable[[Conversion], Convert],
    wants: str,
    value: Any,
    path: str,
) -> Any:
    deeper: InvalidInputError | None = None
    for each in members:
        try:
            return verb(each)(value, path)
        except InvalidInputError as error:
            # The type fits, but something inside it is wrong.
            if error.field != path or isinstance(error, FailedCheckError):
                deeper = error
    raise deeper or InvalidInputError(path, f"{shown(value)} is not {wants}")
