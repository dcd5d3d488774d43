"""Orders: the views that take them, and the tasks that have them paid."""

from __future__ import annotations

from flask import Blueprint, request

from flask_forge_jobs import EndedJob, exponential

from .bank import CardRefusedError, bank
from .extensions import db, forge
from .models import Order

orders = Blueprint("orders", __name__, url_prefix="/orders")


@orders.post("/")
def place() -> tuple[dict[str, object], int]:
    """Store an order and the job that has it paid: both, or neither."""
    order = Order(card=request.form["card"], cents=int(request.form["cents"]))
    db.session.add(order)
    db.session.flush()  # gives the order its id
    job = charge.options(connection=db.session).enqueue(order.id)
    db.session.commit()
    return {"order": order.id, "job": job.id}, 202


@orders.get("/<int:order_id>")
def show(order_id: int) -> dict[str, object]:
    """Show what has become of an order."""
    order = db.get_or_404(Order, order_id)
    return {"order": order.id, "state": order.state}


@forge.task
def refuse(ended: EndedJob) -> None:
    """Note that an order will not be paid: its job was given up or cancelled."""
    order = db.session.get_one(Order, ended["arguments"]["order_id"])
    if order.state == "placed":  # a cancel may come after the payment
        order.state = "refused"
        db.session.commit()


@forge.task(
    retry=exponential(first_s=10),
    max_attempts=4,
    dead_on=CardRefusedError,
    on_dead=refuse,
    on_cancelled=refuse,
)
def charge(order_id: int) -> None:
    """Have an order paid."""
    order = db.session.get_one(Order, order_id)
    bank.charge(order.card, order.cents, key=f"order-{order.id}")
    order.state = "paid"
    db.session.commit()
