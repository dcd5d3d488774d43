"""Steps of a run: which names it has used, and what earlier runs have kept.

The database is read at the first step of a run that is not the job's first one, and
written once for each step. What was kept is not read again: the run owns the job.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from inspect import iscoroutinefunction
from typing import Any, NoReturn, Protocol

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import check_text
from flask_forge_jobs.model.payloads import dump, load_text
from flask_forge_jobs.model.steps import (
    MAX_STEP_BYTES,
    MAX_STEP_NAME_LENGTH,
    MAX_STEPS,
    KeptSteps,
)


class KeepsSteps(Protocol):
    """Reads and stores the steps of runs, each of which it knows by an object."""

    def kept(self, run: Any) -> KeptSteps:
        """Return what the earlier runs of the job have kept."""

    def keep(self, run: Any, name: str, result: str) -> bool:
        """Store a result; return False if the worker has lost the job."""

    def save(self, run: Any, text: str) -> None:
        """Store a checkpoint soon."""


class NotKept:
    """Keeps nothing: for a call of a task that is no job."""

    def kept(self, run: Any) -> KeptSteps:
        """Return nothing."""
        del run
        return KeptSteps()

    def keep(self, run: Any, name: str, result: str) -> bool:
        """Store nothing."""
        del run, name, result
        return True

    def save(self, run: Any, text: str) -> None:
        """Store nothing."""
        del run, text


NOT_KEPT = NotKept()


class StepsOfRun:
    """The steps of one run; any of its threads may call them.

    ``stop_lost`` raises what ends a run that has lost its job.
    """

    def __init__(
        self, keeper: KeepsSteps, run: Any, stop_lost: Callable[[], NoReturn]
    ) -> None:
        self._keeper = keeper
        self._run = run
        self._stop_lost = stop_lost
        self._lock = threading.Lock()
        self._results: dict[str, str] | None = None
        self._used: set[str] = set()
        # Results whose answer was lost, or that could not be stored.
        self._unclear: dict[str, str] = {}
        self._room = MAX_STEPS
        self._checkpoint: str | None = None
        self._has_saved = False

    @property
    def checkpoint(self) -> Any:
        """The value saved last, or None."""
        with self._lock:
            if not self._has_saved:
                self._kept()
            text = self._checkpoint
        return None if text is None else load_text(text, "checkpoint")

    def save(self, value: object) -> None:
        """Keep a value for the next run."""
        text = dump(value, "checkpoint", MAX_STEP_BYTES)
        with self._lock:
            self._checkpoint, self._has_saved = text, True
            self._keeper.save(self._run, text)

    def call(
        self,
        name: str,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """Return the result that is kept, or call the function and keep its result.

        Of an ``async`` function, the same as a coroutine. A result that could not be
        stored may be stored all the same, so the next call of the step stores it again.
        """
        kept = self._begin(name)
        if iscoroutinefunction(function):
            return self._later(name, kept, function, args, kwargs)
        if kept is not None:
            return load_text(kept, f"step {name!r}")
        try:
            if name not in self._unclear:
                self._note(name, function(*args, **kwargs))
            return self._end(name)
        except BaseException:
            self._give_up(name)
            raise

    async def _later(
        self,
        name: str,
        kept: str | None,
        function: Callable[..., Coroutine[Any, Any, Any]],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        if kept is not None:
            return load_text(kept, f"step {name!r}")
        try:
            if name not in self._unclear:
                self._note(name, await function(*args, **kwargs))
            return self._end(name)
        except BaseException:
            self._give_up(name)
            raise

    def _begin(self, name: str) -> str | None:
        """Use a name; return the result that is kept under it, or None."""
        check_text("step", name, MAX_STEP_NAME_LENGTH)
        with self._lock:
            results = self._kept()
            if name in self._used:
                raise InvalidInputError(
                    "step", f"{name!r} is used twice in a run; give each step its name"
                )
            kept = results.get(name)
            if kept is None:
                if not self._room:
                    raise InvalidInputError(
                        "step",
                        f"{name!r} exceeds the {MAX_STEPS} steps of a job; use save() "
                        "for the place in a longer loop",
                    )
                self._room -= 1
            self._used.add(name)
        return kept

    def _note(self, name: str, value: object) -> None:
        self._unclear[name] = dump(value, _field(name), MAX_STEP_BYTES)

    def _end(self, name: str) -> Any:
        """Keep the result of a step; it stays unclear if that raises."""
        text = self._unclear[name]
        if not self._keeper.keep(self._run, name, text):
            self._stop_lost()
        del self._unclear[name]
        return load_text(text, _field(name))

    def _give_up(self, name: str) -> None:
        """Free the name of a step without a result, which the run may try again."""
        with self._lock:
            self._used.discard(name)
            self._room += 1

    def _kept(self) -> dict[str, str]:
        """Return the results that earlier runs have kept, read once."""
        if self._results is None:
            kept = self._keeper.kept(self._run)
            self._results = kept.results
            self._room -= len(kept.results)
            if not self._has_saved:
                self._checkpoint = kept.checkpoint
        return self._results


def _field(name: str) -> str:
    return f"result of step {name!r}"
