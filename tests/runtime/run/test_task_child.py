"""How the process of a task finds its worker; how it serves it in test_isolation.py."""

from __future__ import annotations

import os
import socket

import pytest

from flask_forge_jobs.config.variables import CHANNEL_VARIABLE
from flask_forge_jobs.runtime.run.task_child import take_channel


def test_the_channel_is_taken_once() -> None:
    ours, theirs = socket.socketpair()
    theirs.set_inheritable(True)
    environ = {CHANNEL_VARIABLE: str(theirs.fileno()), "OTHER": "1"}

    channel = take_channel(environ)

    assert channel is not None
    assert channel.fileno() == theirs.detach()
    assert not channel.get_inheritable()
    assert environ == {"OTHER": "1"}
    ours.close()
    channel.close()


@pytest.mark.parametrize("text", [None, "", "x", "-1", "9999"])
def test_there_may_be_no_channel(text: str | None) -> None:
    environ = {} if text is None else {CHANNEL_VARIABLE: text}

    assert take_channel(environ) is None
    assert environ == {}


def test_a_descriptor_of_something_else_is_no_channel() -> None:
    reader, writer = os.pipe()

    assert take_channel({CHANNEL_VARIABLE: str(reader)}) is None

    os.close(reader)
    os.close(writer)
