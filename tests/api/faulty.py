"""A storage whose every verb raises, for errors no real database gives on demand."""

from __future__ import annotations

from typing import Any, NoReturn, cast

from flask_forge_jobs.storage.base import Storage


class _Faulty:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return _Faulty(self._error)

    def __call__(self, *_args: object, **_kwargs: object) -> NoReturn:
        # The same error may be raised ten thousand times; its traceback and context
        # would keep the frames, and with them the applications, of all of them.
        self._error.__context__ = None
        raise self._error.with_traceback(None)

    def __enter__(self) -> NoReturn:
        self()

    def __exit__(self, *_: object) -> None:
        """Do nothing: no block begins."""


def faulty_storage(error: Exception) -> Storage:
    """Return a storage that raises an error at the first use."""

    class FaultyStorage:
        database = _Faulty(error)

        def within(self, _: object) -> FaultyStorage:
            return self

        def __getattr__(self, name: str) -> Any:
            return _Faulty(error)

    return cast("Storage", FaultyStorage())
