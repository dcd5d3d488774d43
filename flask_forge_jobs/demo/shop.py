"""The tasks of the shop; some of them fail, each for a reason that its log lines tell.

What a job does follows from its order's number, so the same orders fail every time.
"""

from __future__ import annotations

import logging
import zlib

from flask_forge_jobs.demo.past_clock import work
from flask_forge_jobs.extension import ForgeJobs
from flask_forge_jobs.model.batches import EndedBatch
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.outcomes import Dead
from flask_forge_jobs.state import current
from flask_forge_jobs.tasks.context import TaskContext

logger = logging.getLogger("shop")

forge = ForgeJobs()
HOUR_US = 3600 * SECOND_US
LEDGER = "ledger"
GATEWAY = "card-gateway"
# Which of the orders have the trouble; see share().
RESET, TIMEOUT, DECLINED, BROKEN, STUCK = 0.03, 0.04, 0.001, 0.001, 0.02
# Of the reports on cities; the one of a month needs all entries of this city.
CITIES, OPEN_CITY, MONTH = 50, 21, "of last month"
# In one hour of so many, the warehouse copies its tables.
WAREHOUSE_H = 7


class GatewayTimeoutError(Exception):
    """The card gateway does not answer."""


class LedgerEntryMissingError(Exception):
    """An order cannot be closed, because its entry is missing."""


class WarehouseBusyError(Exception):
    """Reports cannot be built while the warehouse copies its tables."""


def mixed(text: str) -> float:
    """Return a number from 0 to 1 that looks random and depends on the text only."""
    number = zlib.crc32(text.encode())
    # Twice: sums of similar texts are similar; products are not.
    number = (number ^ number >> 16) * 0x45D9F3B & 0xFFFFFFFF
    number = (number ^ number >> 16) * 0x45D9F3B & 0xFFFFFFFF
    return number / 0x100000000


def share(order: int, salt: str) -> float:
    """Return a number from 0 to 1 that looks random and depends on the order only."""
    return mixed(f"{salt}{order}")


def jobs_of(order: int) -> list[NewJob]:
    """Return the jobs of an order; only some orders have pictures or videos."""
    cents = 900 + order * 37 % 9000
    jobs = [
        send_receipt.job(order=order, to=f"customer{order}@shop.example"),
        index_product.job(order=order),
    ]
    if order % 9 in {0, 2, 4, 6}:
        jobs.append(charge_card.job(order=order, cents=cents))
    if order % 5 == 0:
        jobs.append(write_entry.job(order=order, cents=cents))
    if order % 4 == 0:
        jobs.append(resize_image.job(order=order, sizes=[64, 256, 1024]))
    if order % 30 == 0:
        jobs.append(close_order.job(order=order))
    if order % 140 in {0, 3}:  # the second one waits for the first one
        jobs.append(transcode_video.job(order=order, seconds=40 + order % 7))
    return jobs


@forge.task(queue="orders", retry=[30, 120], max_attempts=3)
def charge_card(context: TaskContext, order: int, cents: int) -> dict[str, int]:
    """Charge a customer's card through the gateway, which takes few calls a second."""
    context.rate_limit(GATEWAY)
    logger.info("order %d: %d cents to charge", order, cents)
    work(context, 0.08 + 0.4 * share(order, "charge"))
    if share(order, "declined") < DECLINED:
        logger.error("order %d: the bank answers 51, insufficient funds", order)
        raise Dead(f"CardDeclined: order {order}: insufficient funds, code 51")
    if context.attempt == 1 and share(order, "timeout") < TIMEOUT:
        logger.warning("order %d: no answer within 10 s", order)
        raise GatewayTimeoutError("cards.shop.example: no answer within 10 s")
    return {"charged": cents}


@forge.task(queue="orders", max_attempts=1)
def close_order(context: TaskContext, order: int) -> None:
    """Close an order that is paid, shipped and entered in the ledger."""
    logger.info("order %d: paid and shipped", order)
    work(context, 0.05)
    _check_entry(order)


def _check_entry(order: int) -> None:
    if current().storage.queues.get(LEDGER).paused:
        logger.warning("order %d: no entry in the ledger yet", order)
        logger.error("the queue %s is paused, so nothing writes entries", LEDGER)
        raise LedgerEntryMissingError(
            f"order {order} has no entry: the queue {LEDGER} is paused"
        )


@forge.task(queue="reports", max_attempts=1)
def count_city(context: TaskContext, report: str, city: int) -> dict[str, int]:
    """Add up the orders of a city, for a report on all of them."""
    work(context, 1.5 + 2.5 * share(city, report))
    if (report, city) == (MONTH, OPEN_CITY):
        _check_entry(4700)
    return {"city": city, "orders": 40 + int(100 * share(city, "orders"))}


@forge.task(queue="reports")
def send_report(context: TaskContext, ended: EndedBatch) -> None:
    """Send a report whose cities are all there."""
    logger.info("report %s: %d cities", ended["data"]["report"], ended["done"])
    work(context, 0.1)


@forge.task(queue=LEDGER)
def write_entry(context: TaskContext, order: int, cents: int) -> None:
    """Write an order's entry into the ledger."""
    logger.info("order %d: %d cents entered", order, cents)
    work(context, 0.025)


@forge.task(queue="mail", retry=[300, 1200, 3600], max_attempts=4)
def send_receipt(context: TaskContext, order: int, to: str) -> None:
    """Send a receipt; the mail server drops a connection now and then."""
    logger.info("order %d: receipt to %s", order, to)
    work(context, 0.02 + 0.1 * share(order, "mail"))
    if context.attempt == 1 and share(order, "reset") < RESET:
        raise ConnectionResetError("smtp.shop.example: connection reset by peer")


@forge.task(queue="media", max_attempts=3)
def resize_image(context: TaskContext, order: int, sizes: list[int]) -> None:
    """Make the thumbnails of a product's picture."""
    logger.info("order %d: a picture in %d sizes", order, len(sizes))
    if share(order, "broken") < BROKEN:
        logger.error("order %d: the file ends after 12 KiB of 310", order)
        raise Dead(f"BrokenPicture: order {order}: the file is truncated")
    for number, size in enumerate(sizes, 1):
        work(context, 0.1 + 0.3 * share(order, f"image{size}"))
        context.progress(number, len(sizes), f"{size} px")


@forge.task(
    queue="media", max_concurrent=1, retry=[60, 300], max_attempts=3, timeout_s=120
)
def transcode_video(context: TaskContext, order: int, seconds: int) -> dict[str, int]:
    """Convert a product's video; one at a time in the whole cluster."""
    logger.info("order %d: a video of %d s", order, seconds)
    for done in range(1, seconds + 1):
        work(context, 1)
        context.progress(done, seconds, f"scene {1 + done // 8}")
        if done > seconds // 2 and share(order, "stuck") < STUCK:
            logger.error("order %d: the encoder hangs in scene %d", order, done // 8)
            raise TimeoutError("the encoder has not answered for 30 s")
    return {"seconds": seconds}


@forge.task(queue="search")
def index_product(context: TaskContext, order: int) -> None:
    """Put a product into the index of the search."""
    work(context, 0.01 + 0.03 * share(order, "index"))


@forge.task(queue="reports", max_attempts=1, timeout_s=300)
def build_report(context: TaskContext, name: str) -> dict[str, object]:
    """Build a report for the accountants."""
    if context.clock.now_us() // HOUR_US % WAREHOUSE_H == 0:
        logger.error("report %s: the warehouse copies its tables for an hour", name)
        raise WarehouseBusyError("warehouse.shop.example: closed for copying tables")
    for done in range(1, 13):
        work(context, 0.7)
        context.progress(done, 12, f"month {done} of 12")
    logger.info("report %s: 12 months, 4 regions", name)
    return {"name": name, "rows": 48}


TASKS = (
    charge_card, close_order, write_entry, send_receipt, resize_image,
    transcode_video, index_product, build_report, count_city, send_report,
)  # fmt: skip
