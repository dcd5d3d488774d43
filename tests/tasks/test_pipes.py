from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator

import pytest

from flask_forge_jobs.tasks.supervision import (
    CHUNK_BYTES,
    LineReader,
    LineTooLongError,
    WriteBuffer,
    read_some,
)

LONGEST = 100


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError:
            continue  # by the test


def test_lines_come_when_they_are_complete(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    lines = LineReader(reader, LONGEST)

    nothing = lines.read()
    os.write(writer, b"one\ntw")
    first = lines.read()
    os.write(writer, b"o\n\n")
    second = lines.read()

    assert (nothing, first, second) == ([], [b"one"], [b"two", b""])
    assert not lines.is_over


def test_the_end_is_noticed(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    lines = LineReader(reader, LONGEST)
    os.write(writer, b"last\nrest")
    os.close(writer)

    found = lines.read()
    after = lines.read()

    assert (found, after) == ([b"last"], [])
    assert lines.is_over


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_may_be_so_long_and_no_longer(pipe: tuple[int, int], end: bytes) -> None:
    reader, writer = pipe
    lines = LineReader(reader, LONGEST)
    os.write(writer, b"x" * LONGEST + b"\n")
    fits = lines.read()
    os.write(writer, b"x" * (LONGEST + 1) + end)

    with pytest.raises(LineTooLongError):
        lines.read()

    assert fits == [b"x" * LONGEST]


def test_outgoing_goes_on_where_the_reader_was_slow(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    data = random.Random(7).randbytes(5 * CHUNK_BYTES + 7)
    outgoing = WriteBuffer(writer, data)

    early = outgoing.write()
    found = b""
    while not outgoing.write():
        found += read_some(reader) or b""
    while chunk := read_some(reader):
        found += chunk

    assert not early
    assert found == data


def test_outgoing_is_done_when_nobody_reads(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.close(reader)

    assert WriteBuffer(writer, b"lost").write()


def test_a_socket_whose_other_side_died_is_over() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        ours.send(b"never read")
        theirs.close()

        assert read_some(ours.fileno()) == b""
