"""Orders: the views that take them, and the tasks that work them off."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, jsonify

from flask_forge_jobs import Dead, TaskContext, Throttled
from tests.examples.shop.carrier import CarrierBusyError, current_carrier
from tests.examples.shop.extensions import forge

orders = Blueprint("orders", __name__)


@orders.post("/orders/<int:order_id>")
def place(order_id: int) -> tuple[Response, int]:
    """Take an order; asking twice does not ship twice."""
    job = ship.options(dedupe_key=f"ship:{order_id}").enqueue(order_id)
    return jsonify(job=job.id, is_new=not job.is_deduped), 202


@forge.task(max_attempts=2, timeout_s=30)
def ship(context: TaskContext, order_id: int) -> dict[str, int]:
    """Hand the parcel over, then write to the customer."""
    if order_id not in current_app.config["SHOP_ORDERS"]:
        raise Dead(f"there is no order {order_id}")
    context.set_progress({"step": "carrier"})
    try:
        current_carrier().take(order_id)
    except CarrierBusyError as busy:
        raise Throttled(busy.retry_after_s, scope="job") from busy
    mail_receipt.enqueue(order_id=order_id, attempt=context.attempt)
    return {"shipped": order_id}


@forge.task
async def mail_receipt(order_id: int, *, attempt: int = 1) -> None:
    """Write to the customer."""
    current_app.config["SHOP_LETTERS"].append((order_id, attempt))
