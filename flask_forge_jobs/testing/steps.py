"""NotedSteps: keeps the steps of a task that runs without a job, for a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask_forge_jobs.model.payloads import dump, load_text
from flask_forge_jobs.model.steps import KeptSteps


class NotedSteps:
    """Notes results and saved values; earlier ones are given."""

    def __init__(
        self,
        results: dict[str, Any],
        saved: list[Any],
        earlier: Mapping[str, object],
        checkpoint: object,
    ) -> None:
        self._results = results
        self._saved = saved
        self._kept = KeptSteps(
            {name: dump(value, f"step {name!r}") for name, value in earlier.items()},
            dump(checkpoint, "checkpoint"),
        )

    def kept(self, run: Any) -> KeptSteps:
        """Return what was given."""
        del run
        return self._kept

    def keep(self, run: Any, name: str, result: str) -> bool:
        """Note a result."""
        del run
        self._results[name] = load_text(result)
        return True

    def save(self, run: Any, text: str) -> None:
        """Note a saved value."""
        del run
        self._saved.append(load_text(text))
