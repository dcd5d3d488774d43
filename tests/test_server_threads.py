"""The threads of ``forge-jobs-server``, apart from its worker."""

from __future__ import annotations

import threading
from types import SimpleNamespace

from flask_forge_jobs.server_threads import RequestThreads
from tests.test_server_worker import QUICK, SOON_S


def test_health_has_a_thread_of_its_own() -> None:
    is_over = threading.Event()

    def conn(first: bytes) -> SimpleNamespace:
        return SimpleNamespace(sock=SimpleNamespace(starts_with=first.startswith))

    pool = RequestThreads(1, (QUICK,))
    try:
        pool.submit(lambda _: is_over.wait(), conn(b"GET /jobs HTTP/"))
        asked = conn(QUICK + b"1.1")
        assert pool.submit(lambda given: given, asked).result(SOON_S) is asked
        similar = pool.submit(lambda given: given, conn(b"GET /quick/ready HTTP/1.1"))
        assert not similar.done()
    finally:
        is_over.set()
        pool.shutdown()
