"""The tasks of the shop; some of them fail, each for a reason that its log lines tell.

What a job does follows from its order's number, so the same orders fail every time.
"""

from __future__ import annotations

import logging
import zlib

from flask_forge_jobs.extension import ForgeJobs
from flask_forge_jobs.state import current
from flask_forge_jobs.tasks.context import TaskContext

logger = logging.getLogger(__name__)

forge = ForgeJobs()
LEDGER = "ledger"
GATEWAY = "card-gateway"


class CardDeclinedError(Exception):
    """The bank of a customer refuses a payment."""


class LedgerEntryMissingError(Exception):
    """An order cannot be closed, because nobody has written its entry."""


def _share(order: int, salt: str) -> float:
    """Return a number from 0 to 1 that looks random and depends on the order only."""
    return zlib.crc32(f"{salt}{order}".encode()) / 2**32


@forge.task(queue="orders", retry=[5, 20], max_attempts=3)
def charge_card(context: TaskContext, order: int, cents: int) -> dict[str, int]:
    """Charge a customer's card through the gateway, which takes few calls a second."""
    context.rate_limit(GATEWAY)
    logger.info("order %d: %d cents to charge", order, cents)
    context.sleep(0.08 + 0.4 * _share(order, "charge"))
    if _share(order, "declined") < 0.05:  # noqa: PLR2004  # one customer in twenty
        logger.warning("order %d: the bank answers 51, insufficient funds", order)
        raise CardDeclinedError(f"order {order}: declined by the bank, code 51")
    return {"charged": cents}


@forge.task(queue="orders", max_attempts=1)
def close_order(context: TaskContext, order: int) -> None:
    """Close an order that is paid, shipped and entered in the ledger."""
    logger.info("order %d: paid and shipped", order)
    context.sleep(0.05)
    _check_entry(order)


def _check_entry(order: int) -> None:
    if current().storage.queues.get(LEDGER).paused:
        logger.warning("order %d: no entry in the ledger yet", order)
        logger.error("the queue %s is paused, so nothing writes entries", LEDGER)
        raise LedgerEntryMissingError(
            f"order {order} has no entry: the queue {LEDGER} is paused"
        )


@forge.task(queue=LEDGER)
def write_entry(context: TaskContext, order: int, cents: int) -> None:
    """Write an order's entry into the ledger."""
    logger.info("order %d: %d cents entered", order, cents)
    context.sleep(0.04)


@forge.task(queue="mail", retry=[3, 10, 30], max_attempts=4)
def send_receipt(context: TaskContext, order: int, to: str) -> None:
    """Send a receipt; the mail server drops a connection now and then."""
    logger.info("order %d: receipt to %s", order, to)
    context.sleep(0.02 + 0.1 * _share(order, "mail"))
    if context.attempt == 1 and _share(order, "reset") < 0.04:  # noqa: PLR2004  # rarely
        raise ConnectionResetError("smtp.shop.example: connection reset by peer")


@forge.task(queue="media", max_attempts=3)
def resize_image(context: TaskContext, order: int, sizes: list[int]) -> None:
    """Make the thumbnails of a product's picture."""
    for number, size in enumerate(sizes, 1):
        context.sleep(0.1 + 0.3 * _share(order, f"image{size}"))
        context.progress(number, len(sizes), f"{size} px")


@forge.task(queue="media", max_concurrent=1, timeout_s=120)
def transcode_video(context: TaskContext, order: int, seconds: int) -> dict[str, int]:
    """Convert a product's video; one at a time in the whole cluster."""
    logger.info("order %d: a video of %d s", order, seconds)
    for done in range(1, seconds + 1):
        context.sleep(1)
        context.progress(done, seconds, f"scene {1 + done // 8}")
    return {"seconds": seconds}


@forge.task(queue="search")
def index_product(context: TaskContext, order: int) -> None:
    """Put a product into the index of the search."""
    context.sleep(0.01 + 0.03 * _share(order, "index"))


@forge.task(queue="reports", timeout_s=300)
def build_report(context: TaskContext, name: str) -> dict[str, object]:
    """Build a report for the accountants."""
    for done in range(1, 13):
        context.sleep(0.7)
        context.progress(done, 12, f"month {done} of 12")
    logger.info("report %s: 12 months, 4 regions", name)
    return {"name": name, "rows": 48}


TASKS = (
    charge_card, close_order, write_entry, send_receipt, resize_image,
    transcode_video, index_product, build_report,
)  # fmt: skip
