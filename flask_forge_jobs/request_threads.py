"""Which threads answer requests: a server has only so many of them.

The web layer marks each thread; the storage lets one of them never wait for a database
that hangs.
"""

from __future__ import annotations

import threading


class _ThisThread(threading.local):
    """The state of one thread."""

    answers_requests = False


this_thread = _ThisThread()
