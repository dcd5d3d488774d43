"""A tab of headless Chromium, driven by the DevTools protocol over a pair of pipes.

Beside the contents of a page, which ``tests.support.browser`` returns, a tab has a
width, a theme and a log, and evaluates expressions.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.support.browser import QUIET, as_root, program

_LIMIT_S = 60.0
# Chromium reads commands from file 3 and writes answers to file 4.
_START = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
    "os.execv(sys.argv[3], sys.argv[3:])"
)
_FIRST_FREE = 10


class Tab:
    """One tab; ``complaints`` is the browser's log of the present page."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = commands
        self._answers = answers
        self._unread = b""
        self._last = 0
        self._session: str | None = None
        self._is_loaded = False
        self.complaints: list[str] = []
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self._ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Log", "Runtime", "Network"):
            self._ask(f"{domain}.enable")

    def open(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        width: int = 1280,
        dark: bool = False,
    ) -> None:
        """Open a page and wait until all of it is loaded.

        Args:
            url: Its address.
            headers: Sent along with each request; none by default.
            width: Of the window in pixels; one below 500 is that of a phone.
            dark: The theme that the person prefers.
        """
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=844 if width < 500 else 800,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[theme])
        self._ask("Network.setExtraHTTPHeaders", headers=dict(headers or {}))
        self.complaints = []
        self._is_loaded = False
        self._ask("Page.navigate", url=url)
        while not self._is_loaded:
            self._hear(self._read())

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        answer = self._ask(
            "Runtime.evaluate", expression=expression, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key such as ``Tab``, where the focus is."""
        codes = {"Tab": 9, "Enter": 13}
        for kind in ("rawKeyDown", "keyUp"):
            self._ask(
                "Input.dispatchKeyEvent",
                type=kind, key=key, code=key, windowsVirtualKeyCode=codes[key],
            )  # fmt: skip

    def photograph(self, path: Path) -> None:
        """Write a picture of the whole page."""
        taken = self._ask("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(taken["data"]))

    def _ask(self, method: str, **parameters: object) -> dict[str, Any]:
        self._last += 1
        command: dict[str, object] = {"id": self._last, "method": method}
        command["params"] = parameters
        if self._session is not None:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while True:
            message = self._read()
            if message.get("id") == self._last:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self._hear(message)

    def _hear(self, message: dict[str, Any]) -> None:
        match message.get("method"):
            case "Page.loadEventFired":
                self._is_loaded = True
            case "Log.entryAdded":
                self.complaints.append(message["params"]["entry"]["text"])
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(message["params"]))

    def _read(self) -> dict[str, Any]:
        ends_at = time.monotonic() + _LIMIT_S
        while b"\0" not in self._unread:
            left_s = max(ends_at - time.monotonic(), 0)
            assert select.select([self._answers], [], [], left_s)[0], "no answer"
            part = os.read(self._answers, 1 << 20)
            assert part, "the browser has ended"
            self._unread += part
        text, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message


@contextlib.contextmanager
def running_tab(profile: Path) -> Iterator[Tab]:
    """Start a browser with a fresh profile and one tab."""
    theirs_in, commands = os.pipe()
    answers, theirs_out = os.pipe()
    theirs = [fcntl.fcntl(each, fcntl.F_DUPFD, _FIRST_FREE) for each in
              (theirs_in, theirs_out)]  # fmt: skip
    process = subprocess.Popen(
        [
            sys.executable, "-c", _START, *map(str, theirs), program(),
            *QUIET, *as_root(), f"--user-data-dir={profile}",
            "--remote-debugging-pipe", "about:blank",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=theirs,
    )  # fmt: skip
    for each in (*theirs, theirs_in, theirs_out):
        os.close(each)
    try:
        yield Tab(commands, answers)
    finally:
        process.kill()
        process.wait()
        os.close(commands)
        os.close(answers)
