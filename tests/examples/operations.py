"""The shop of the operations cookbook, and the state in which each recipe begins."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from flask_forge_jobs.state import state_of
from flask_forge_jobs.tasks.context import TaskContext
from tests.cli.console import SOUND, Console
from tests.support.jobs import rescue_all
from tests.support.waiting import wait_until

logger = logging.getLogger("shop.payments")


class Shop(Console):
    """An application with its tasks, and a worker for as long as a recipe needs it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, settings=SOUND)
        self.gateway_answers = False
        self.release = threading.Event()

        @self.forge.task(queue="payments", max_attempts=1)
        def charge_card(order: int) -> None:
            if not self.gateway_answers:
                logger.warning("order %d: no answer within 5 s", order)
                raise ConnectionError(f"the gateway refused order {order}")

        @self.forge.task(queue="exports")
        def export_year(context: TaskContext, year: int) -> None:
            del year
            while not self.release.is_set():
                context.cancel.wait(0.01)
                context.cancel.raise_if_cancelled()

        self.charge_card = charge_card
        self.export_year = export_year

    @contextlib.contextmanager
    def worker(self, queue: str) -> Iterator[None]:
        """Run a worker for the time of a block."""
        runtime = state_of(self.app).runtime(2).with_queues([queue])
        handle = runtime.with_worker_name("web-1").start()
        try:
            yield
        finally:
            self.release.set()
            handle.shutdown_graceful(5)

    def wait_for(self, number: int, *words: str) -> None:
        """Wait until this many jobs match."""
        wait_until(
            lambda: len(self.documents("jobs", "list", *words)) == number,
            f"{number} jobs match {words}",
        )


@contextlib.contextmanager
def failing(shop: Shop) -> Iterator[None]:
    """Three payments are dead; the gateway answers again, and a worker runs."""
    with shop.app.app_context():
        for order in (17, 18, 19):
            shop.charge_card.enqueue(order=order)
    with shop.worker("payments"):
        shop.wait_for(3, "--dead")
        shop.gateway_answers = True
        yield


@contextlib.contextmanager
def growing(shop: Shop) -> Iterator[None]:
    """Forty payments wait, and no worker runs."""
    with shop.app.app_context():
        for order in range(40):
            shop.charge_card.enqueue(order=order)
    yield


@contextlib.contextmanager
def hanging(shop: Shop) -> Iterator[None]:
    """An export runs and does not end."""
    with shop.app.app_context():
        shop.export_year.enqueue(year=2026)
    with shop.worker("exports"):
        shop.wait_for(1, "--in-progress")
        wait_until(
            lambda: bool(shop.documents("workers")[0]["running"]), "the slot shows it"
        )
        yield


@contextlib.contextmanager
def poisoned(shop: Shop) -> Iterator[None]:
    """A job has killed three workers."""
    with shop.app.app_context():
        shop.export_year.enqueue(year=1999)
    for number in range(3):
        shop.storage.jobs.claim("exports", f"W-{number}")
        rescue_all(shop.storage)
        shop.text("jobs", "run-now", "--failed", "--yes")
    yield


@contextlib.contextmanager
def standing(shop: Shop) -> Iterator[None]:
    """A payment of a batch is dead, another one is on hold for it."""
    with shop.app.app_context(), shop.forge.batch("orders") as batch:
        first = batch.add(shop.charge_card.job(order=17))
        held = shop.charge_card.options(after=first, on_parent_dead="hold")
        batch.add(held.job(order=18))
    with shop.worker("payments"):
        shop.wait_for(1, "--dead")
    yield


@contextlib.contextmanager
def at_rest(shop: Shop) -> Iterator[None]:
    """Two queues, and nothing waits."""
    for name in ("exports", "payments"):
        shop.storage.queues.ensure(name)
    yield


# By the label above the recipe.
RECIPES: dict[str, Callable[[Shop], contextlib.AbstractContextManager[None]]] = {
    "kind-fails": failing,
    "queue-grows": growing,
    "worker-hangs": hanging,
    "poison-job": poisoned,
    "standing-batch": standing,
    "deploy": at_rest,
    "restore": at_rest,
}
