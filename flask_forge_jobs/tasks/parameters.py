"""Parameters: converts between the arguments of a function and a payload."""

from __future__ import annotations

import difflib
import functools
import inspect
import operator
import sys
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import shown
from flask_forge_jobs.model.limits import ConcurrencyLimit
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.tasks.context import TaskContext
from flask_forge_jobs.tasks.conversions import (
    ANYTHING,
    conversion_of,
    unless_unsupported,
)
from flask_forge_jobs.tasks.scalars import Conversion, Convert, UnsupportedError

_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)
_NAMELESS = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)
# Of unknown names, which a client may invent.
_MAX_NAMED = 3
_LONGEST_NAME = 60


class Parameters:
    """The parameters of a task that its payload fills, by name.

    They do not include the :class:`TaskContext`. Defaults are not stored: a job gets
    those of the release that runs it. A function that cannot be called with a JSON
    object of names raises TypeError.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        name = getattr(function, "__qualname__", repr(function))
        given: object = function
        if isinstance(given, classmethod):
            function = given.__func__
        if _is_generator(function):
            raise TypeError(f"{name} is a generator; calling it would run nothing")
        parameters = list(_signature_of(function, name).parameters.values())
        _refuse_method(function, name, [each.name for each in parameters])
        self.context_name: str | None = None
        self.takes_context = bool(parameters) and _is_context(parameters[0], function)
        if self.takes_context:
            first = parameters.pop(0)
            if first.kind not in _POSITIONAL:
                raise TypeError(f"{name}: the context must be an ordinary parameter")
            if first.kind is not inspect.Parameter.POSITIONAL_ONLY:
                self.context_name = first.name
        for parameter in parameters:
            if parameter.kind in _NAMELESS:
                raise TypeError(
                    f"{name}: parameter {parameter.name!r} has no name that a payload "
                    "could carry; use ordinary or keyword-only parameters"
                )
            if _is_context(parameter, function):
                raise TypeError(f"{name}: the context must be the first parameter")
        self._signature = inspect.Signature(parameters)
        named = [each for each in parameters if not _takes_any_name(each)]
        self._takes_more = len(named) < len(parameters)
        self._rest_name = parameters[-1].name if self._takes_more else ""
        self._names = frozenset(each.name for each in named)
        self._required = frozenset(
            each.name for each in named if each.default is inspect.Parameter.empty
        )
        self._conversions = {
            each.name: self._conversion(each, function, name) for each in parameters
        }
        self._plain = {each.name: self._conversions[each.name].plain for each in named}

    def _conversion(
        self, parameter: inspect.Parameter, function: Callable[..., Any], name: str
    ) -> Conversion:
        annotation = _evaluated(parameter.annotation, function)
        if TaskContext in typing.get_args(annotation):
            raise TypeError(
                f"{name}: annotate {parameter.name!r} with TaskContext alone; a direct "
                "call gets a context, too"
            )
        if parameter.name not in self._required:  # it has a default
            if parameter.default is None:
                annotation = typing.Optional[annotation]  # noqa: UP045  # of any form
            return unless_unsupported(annotation)
        try:
            return conversion_of(annotation)
        except UnsupportedError as error:
            raise TypeError(f"{name}: parameter {parameter.name!r}: {error}") from None

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call by name, as JSON."""
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError:
            raise TypeError(self.misfit(len(args), kwargs)) from None
        named: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            if _takes_any_name(self._signature.parameters[name]):
                named.update(value)
            else:
                named[name] = value
        self._refuse_context(named)
        return self.encoded(named)

    def encoded(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return arguments by name as JSON."""
        return self._converted(arguments, operator.attrgetter("encode"))

    def loaded(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of the function for those of a payload."""
        if self.are_ready(arguments):
            return arguments
        self.check(arguments)
        return self._converted(arguments, operator.attrgetter("decode"))

    def are_ready(self, arguments: Mapping[str, Any]) -> bool:
        """Whether the function takes these arguments and none needs a conversion."""
        plain = self._plain
        for name, value in arguments.items():
            if name not in plain or type(value) not in plain[name]:
                return False
        return self._required <= arguments.keys()

    def _converted(
        self, arguments: dict[str, Any], verb: Callable[[Conversion], Convert]
    ) -> dict[str, Any]:
        rest = self._conversions.get(self._rest_name, ANYTHING)
        try:
            return {
                name: verb(self._conversions.get(name, rest))(value, f"payload.{name}")
                for name, value in arguments.items()
            }
        except RecursionError:
            raise InvalidInputError("payload", "contains itself") from None

    def named(self, args: tuple[Any, ...]) -> dict[str, Any]:
        """Return some positional arguments by name."""
        return self._signature.bind_partial(*args).arguments

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Raise TypeError if the function does not take these arguments by name."""
        names = arguments.keys()
        if not (self._required <= names and (self._takes_more or names <= self._names)):
            raise TypeError(self.misfit(0, arguments))
        self._refuse_context(arguments)

    def takes(self, name: str) -> bool:
        """Whether there is a parameter of this name."""
        return self._takes_more or name in self._names

    @property
    def first(self) -> str | None:
        """The name of the first parameter, or None."""
        return next(iter(self._signature.parameters), None)

    def misfit(self, count: int, named: Iterable[str]) -> str:
        """Return everything that is wrong with arguments by position and by name."""
        given_names: Iterable[object] = named
        for name in given_names:
            if not isinstance(name, str):
                return f"{shown(name)} is no name; it takes {self._listed()}"
        ordered = [
            each.name
            for each in self._signature.parameters.values()
            if each.kind in _POSITIONAL
        ]
        given = ordered[:count]
        unknown = [name for name in named if not self.takes(name)]
        faults = [f"`{name}` is given twice" for name in named if name in given]
        faults += [
            f"`{name}` is missing"
            for name in self._signature.parameters
            if name in self._required.difference(given, named)
        ]
        faults += [
            f"there is no `{name[:_LONGEST_NAME]}`{self._similar(name)}"
            for name in unknown[:_MAX_NAMED]
        ]
        if len(unknown) > _MAX_NAMED:
            faults.append(f"nor {len(unknown) - _MAX_NAMED} more")
        if count > len(ordered):
            faults.append(f"{count} by position are more than {len(ordered)}")
        return f"{', '.join(faults)}; it takes {self._listed()}"

    def _similar(self, name: str) -> str:
        if name == self.context_name:
            return ", which is the task's context"
        similar = difflib.get_close_matches(name[:_LONGEST_NAME], self._names, 1)
        return f" (did you mean `{similar[0]}`?)" if similar else ""

    def _listed(self) -> str:
        names = [
            f"`{name}`" if name in self._required else f"`{name}` (optional)"
            for name in self._signature.parameters
        ]
        return ", ".join(names) or "none"

    def concurrency(self, limit: ConcurrencyLimit) -> ConcurrencyLimit:
        """Return a concurrency limit, checked, with the default of its key."""
        limit.check()
        if limit.key is None or (self._takes_more and limit.key not in self._names):
            return limit
        if limit.key not in self._names:
            raise InvalidInputError("key", f"{shown(limit.key)} is not a parameter")
        default = self._signature.parameters[limit.key].default
        if default is inspect.Parameter.empty:
            return limit
        if default is not None:
            default = self._conversions[limit.key].encode(default, "key")
        return replace(limit, default=dump(default, "key"))

    def _refuse_context(self, arguments: Mapping[str, Any]) -> None:
        # With **kwargs the name would bind here and then clash in the call.
        if self.context_name in arguments:
            raise TypeError(f"argument {self.context_name!r} is the task's context")


def _is_generator(function: object) -> bool:
    """Whether a call of a function, or of an object, makes a generator."""
    while isinstance(function, functools.partial):
        function = function.func
    return any(
        inspect.isgeneratorfunction(each) or inspect.isasyncgenfunction(each)
        for each in (function, type(function).__call__)
    )


def _refuse_method(function: object, name: str, parameters: Sequence[str]) -> None:
    """Raise TypeError for a function that is defined in a class and takes ``self``."""
    owner = name.rpartition(".")[0]
    is_member = bool(owner) and not owner.endswith("<locals>")
    is_method = is_member and parameters[:1] in (["self"], ["cls"])
    if is_method or isinstance(function, classmethod):
        shown_name = name.rpartition("<locals>.")[2]
        raise TypeError(
            f"{shown_name} is a method, and a job has no object to call it on; make it "
            "a function that takes what identifies the object, such as its id"
        )


def _takes_any_name(parameter: inspect.Parameter) -> bool:
    return parameter.kind is inspect.Parameter.VAR_KEYWORD


def _signature_of(function: Callable[..., Any], name: str) -> inspect.Signature:
    try:
        if sys.version_info >= (3, 14):
            import annotationlib

            # Evaluating would fail for names that only a type checker imports.
            return inspect.signature(
                function, annotation_format=annotationlib.Format.FORWARDREF
            )
        return inspect.signature(function)
    except ValueError as error:
        raise TypeError(f"{name} has no signature; wrap it in a function") from error


def _evaluated(annotation: Any, function: Callable[..., Any]) -> Any:
    """Return an evaluated annotation, or Any if that fails."""
    if annotation is inspect.Parameter.empty:
        return Any
    if isinstance(annotation, type):
        return annotation

    def holder() -> None: ...

    holder.__annotations__ = {"value": annotation}
    scope = getattr(inspect.unwrap(function), "__globals__", {})
    try:
        return typing.get_type_hints(holder, scope, include_extras=True)["value"]
    except Exception:  # noqa: BLE001  # a name that only a type checker imports
        return Any


def _is_context(parameter: inspect.Parameter, function: Callable[..., Any]) -> bool:
    annotation = parameter.annotation
    if annotation is TaskContext:
        return True
    # A forward reference of Python 3.14 or a postponed annotation.
    text = getattr(annotation, "__forward_arg__", annotation)
    if not isinstance(text, str):
        return False
    first, *rest = text.strip("'\" ").split(".")
    if [first, *rest][-1] == TaskContext.__name__:
        return True
    # An alias, such as ``import ... as``.
    unwrapped = inspect.unwrap(function)
    value = getattr(unwrapped, "__globals__", {}).get(first)
    for name in rest:
        value = getattr(value, name, None)
    return value is TaskContext
