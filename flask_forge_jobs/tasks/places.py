"""Where a task is defined, and whether two tasks are the same."""

from __future__ import annotations

import inspect
from types import CodeType

# A decorator without functools.wraps hides the function in a closure.
_DEEPEST = 4


def place_of(task: object) -> str:
    """Return module, name, file and line of a task's function, for a message."""
    function = _function_of(task)
    code = _code_of(function)
    where = "" if code is None else f" ({code.co_filename}:{code.co_firstlineno})"
    return f"{'.'.join(_names_of(function))}{where}"


def is_same(one: object, other: object) -> bool:
    """Tell whether two tasks are of one function, which may be defined repeatedly.

    A reloaded module or a second call of an application factory defines a new function
    at the same place. Functions at different places are different, also if one
    decorator wraps both.
    """
    return _is_same(_function_of(one), _function_of(other), _DEEPEST)


def _is_same(one: object, other: object, depth: int) -> bool:
    if one is other:
        return True
    code, second = _code_of(one), _code_of(other)
    if code is None or second is None:
        return code is second and _names_of(one) == _names_of(other)
    places = [
        (_names_of(function), found.co_filename, found.co_firstlineno)
        for function, found in ((one, code), (other, second))
    ]
    if places[0] != places[1]:
        return False
    hidden = list(zip(_functions_in(one), _functions_in(other), strict=False))
    return depth == 0 or all(_is_same(*pair, depth - 1) for pair in hidden)


def _function_of(task: object) -> object:
    function = getattr(task, "function", task)
    return inspect.unwrap(function) if callable(function) else function


def _names_of(function: object) -> tuple[str, str]:
    named = function if hasattr(function, "__qualname__") else type(function)
    return str(named.__module__), str(getattr(named, "__qualname__", ""))


def _code_of(function: object) -> CodeType | None:
    code = getattr(function, "__code__", None)
    return code if isinstance(code, CodeType) else None


def _functions_in(function: object) -> list[object]:
    found = []
    for cell in getattr(function, "__closure__", None) or ():
        try:
            content = cell.cell_contents
        except ValueError:  # not bound yet
            continue
        if _code_of(content) is not None:
            found.append(inspect.unwrap(content))
    return found
