"""Notes which functions are called while a large answer is composed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from flask_forge_jobs.api.composer import Composer


class Composing:
    """Notes calls of functions, and whether an answer was being composed."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[str, bool]] = []
        self._patch = patch
        self._is_composing = False
        real = Composer.compose

        def compose(
            composer: Composer, parts: Iterable[Any], write: Callable[[Any], bytes]
        ) -> list[bytes]:
            self._is_composing = True
            try:
                return real(composer, parts, write)
            finally:
                self._is_composing = False

        patch.setattr(Composer, "compose", compose)

    def note(self, owner: object, name: str) -> None:
        """Note the calls of a function of a module or an object."""
        real = getattr(owner, name)

        def noted(*args: Any, **kwargs: Any) -> Any:
            self.seen.append((name, self._is_composing))
            return real(*args, **kwargs)

        self._patch.setattr(owner, name, noted)
