"""The process that we are in, before and after a fork."""

from __future__ import annotations

import os

from flask_forge_jobs.forks import current_pid


def test_it_is_this_process() -> None:
    assert current_pid() == os.getpid()


def test_a_child_and_its_child_know_that_they_are_others() -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        grandchild = os.fork()
        os.write(writer, b"." if current_pid() == os.getpid() else b"x")
        if grandchild:
            os.waitpid(grandchild, 0)
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answers:
        assert answers.read() == b".."
    assert current_pid() == os.getpid()
