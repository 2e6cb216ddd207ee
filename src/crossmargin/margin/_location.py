"""Which balances count by where they are: proofs, transfers on their way, bridges.

``counted = balance · (1 − h_asset) · (1 − h_bridge)`` with a fresh proof, else 0; a pending
transfer counts 0. Source: requirements B19 (published), the order of the two factors does not
matter; that a proof of a later moment than the valuation proves nothing is ours (house).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import Book
from crossmargin.errors import RulesetError
from crossmargin.margin.components import LocationRule
from crossmargin.margin.ruleset import Ruleset
from crossmargin.units import NS_PER_SECOND

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Why a balance does not count.
STATUS = ("", "pending", "stale")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Balances that do not count.

    Attributes
    ----------
    amount : float64[B]
        What the account says it has; 0 where it counts.
    status : int64[B]
        Indexes ``STATUS``.
    """

    amount: Floats
    status: Ints


def location_rule(ruleset: Ruleset, name: str) -> LocationRule | None:
    """Return how balances at a location count; None where locations are ignored.

    Raises
    ------
    RulesetError
        ``RUL-027`` when the rule-set names locations and not this one.
    """
    rules = ruleset.data.collateral.locations
    if not rules:
        return None
    found = rules.get(name) or rules.get("default")
    if found is None:
        raise RulesetError(
            f"rule-set {ruleset.id!r} does not say how a balance at {name!r} counts",
            code="RUL-027",
            field=f"collateral.locations.{name}",
            hint=f"supply it, for example --set collateral.locations.{name}.haircut=0.1",
        )
    return found


def counted_book(book: Book, ruleset: Ruleset, moment_ns: int) -> tuple[Book, LeftOut]:
    """Take out of a book what does not count at a moment: pending and unproved balances.

    Parameters
    ----------
    book : Book
        As declared.
    ruleset : Ruleset
        Says how old a proof may be, by location.
    moment_ns : int
        Moment of valuation, ns UTC.

    Returns
    -------
    Book
        With 0 in place of what does not count.
    LeftOut
        What that was, and why.
    """
    status = np.where(book.balance_pending, 1, 0).astype(np.int64)
    if ruleset.data.collateral.locations:
        for place in np.unique(book.balance_location[book.balance_location >= 0]):
            rule = location_rule(ruleset, book.locations[place])
            if rule is None or rule.max_proof_age_s is None:
                continue
            age = (moment_ns - book.balance_proof_ns) / NS_PER_SECOND
            fresh = (book.balance_proof_ns >= 0) & (age >= 0) & (age <= rule.max_proof_age_s)
            mine = (book.balance_location == place) & (book.balance_amount > 0)
            status[mine & ~fresh & (status == 0)] = 2
    gone = status > 0
    left = LeftOut(np.where(gone, book.balance_amount, 0.0), status)
    if not gone.any():
        return book, left
    return replace(book, balance_amount=np.where(gone, 0.0, book.balance_amount)), left


def bridge_haircuts(book: Book, ruleset: Ruleset) -> Floats:
    """Return the bridge haircut of each balance; 0 where none applies."""
    out = np.zeros(book.balance_amount.size)
    if not ruleset.data.collateral.locations:
        return out
    for place in np.unique(book.balance_location[book.balance_location >= 0]):
        rule = location_rule(ruleset, book.locations[place])
        if rule is not None:
            out[book.balance_location == place] = rule.haircut
    return out
