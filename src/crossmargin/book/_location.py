"""What if a venue or chain stops: the same accounts without what it holds for them."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np

from crossmargin.book._account import AccountFile, to_float
from crossmargin.book._book import Book
from crossmargin.errors import InputError


def book_without_location(book: Book, location: str) -> Book:
    """Return the book with nothing at a location.

    What accounts own there is gone for the while; what they owe there is still owed.

    Parameters
    ----------
    book : Book
        Any book.
    location : str
        Venue or chain, as the balances name it.

    Raises
    ------
    InputError
        ``INP-016`` when no balance is there.
    """
    if location not in book.locations:
        raise _nowhere(location, book.locations)
    place = book.locations.index(location)
    gone = (book.balance_location == place) & (book.balance_amount > 0)
    return replace(book, balance_amount=np.where(gone, 0.0, book.balance_amount))


def account_without_location(account: AccountFile, location: str) -> AccountFile:
    """Return one account with nothing at a location; see :func:`book_without_location`.

    Raises
    ------
    InputError
        ``INP-016`` when no balance is there.
    """
    known = sorted({b.location for b in account.balances if b.location is not None})
    if location not in known:
        raise _nowhere(location, known)
    balances = []
    for row, entry in enumerate(account.balances):
        here = entry.location == location
        field = f"balances[{row}].amount"
        owned = here and to_float(entry.amount, account=account.account, field=field) > 0
        balances.append(msgspec.structs.replace(entry, amount=0.0) if owned else entry)
    said = f"{account.description} " if account.description else ""
    return msgspec.structs.replace(
        account, balances=balances, description=f"{said}(without what {location} holds)"
    )


def _nowhere(location: str, known: list[str]) -> InputError:
    where = f"balances are at {', '.join(known)}" if known else "no balance names a location"
    return InputError(f"no balance is at {location!r}", code="INP-016", hint=where)
