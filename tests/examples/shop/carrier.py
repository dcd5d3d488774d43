"""The carrier that takes the parcels; a stand-in for a service elsewhere."""

from __future__ import annotations

from flask import Flask, current_app


class CarrierBusyError(Exception):
    """The carrier asks to be left alone for a while.

    Args:
        retry_after_s: Seconds.
    """

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"busy for {retry_after_s} s")
        self.retry_after_s = retry_after_s


class Carrier:
    """Takes parcels.

    Args:
        app: The application to serve.
        busy_for_s: What it answers the first time; None takes the parcel.
    """

    def __init__(self, app: Flask, busy_for_s: float | None = None) -> None:
        self.parcels: list[int] = []
        self._busy_for_s = busy_for_s
        app.extensions["carrier"] = self

    def take(self, order_id: int) -> None:
        """Take the parcel of an order.

        Raises:
            CarrierBusyError: Not now.
        """
        busy_for_s, self._busy_for_s = self._busy_for_s, None
        if busy_for_s is not None:
            raise CarrierBusyError(busy_for_s)
        self.parcels.append(order_id)


def current_carrier() -> Carrier:
    """Return the carrier of the current application."""
    carrier: Carrier = current_app.extensions["carrier"]
    return carrier
