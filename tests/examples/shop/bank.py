"""The bank; a stand-in for a service elsewhere."""

from __future__ import annotations


class CardRefusedError(Exception):
    """The card will not do, however often it is tried."""


class Bank:
    """Takes money from cards."""

    def charge(self, card: str, cents: int, *, key: str) -> None:
        """Take the money, once for each key.

        A job may run twice when its worker dies, so what it does elsewhere needs a key.

        Raises:
            CardRefusedError: The card is stolen.
            ConnectionError: The bank does not answer.
        """
        del cents, key
        if card == "stolen":
            raise CardRefusedError(card)
        if card == "offline":
            raise ConnectionError("the bank does not answer")


bank = Bank()
