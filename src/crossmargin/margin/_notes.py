"""What a reader must know and could not see from the numbers: gaps and notes."""

from __future__ import annotations

import numpy as np
from msgspec import UNSET

from crossmargin.book import AccountFile
from crossmargin.instruments import KIND_CODE, deribit_name
from crossmargin.margin._cuts import asset_rule
from crossmargin.margin._frame import Frame
from crossmargin.margin._location import STATUS
from crossmargin.margin.components import (
    Component,
    Depeg,
    Unpublished,
)
from crossmargin.margin.engine import Equity, Requirement
from crossmargin.margin.tiers import size_notes
from crossmargin.market import Snapshot
from crossmargin.units import format_time


def _left_out_here(frame: Frame, spec: Component, need: Requirement) -> bool:
    """Whether what a component leaves out bears on this account's number."""
    book = frame.book
    live = ~frame.view.settled[book.position_instrument] & (book.position_quantity != 0.0)
    if isinstance(spec, Depeg):
        # Rates are missing for sizes and prices that only a hedge across quotes can reach.
        return bool((need.parts[spec.name].im > 0.0).any())
    if isinstance(spec, Unpublished):
        return bool(
            {book.registry[int(i)].kind for i in book.position_instrument[live]} & set(spec.kinds)
        )
    return bool(book.position_instrument.size)


def gaps_here(frame: Frame, need: Requirement) -> list[str]:
    """List what is unknown about a rule-set and touches this account's number.

    A component that refuses when it is needed has not been needed where a number came out; what
    is left out, a house formula for orders or an unconfirmed haircut counts where it applies.
    """
    book, data = frame.book, frame.ruleset.data
    a = frame.arrangement
    found = [
        f"{spec.name}: {spec.note or 'not published'}"
        for spec in data.components
        if spec.unknown and spec.leaves_out and _left_out_here(frame, spec, need)
    ]
    if book.leg_order.size and data.orders.confidence in ("house", "user", "unconfirmed"):
        found.append(f"open_orders: {data.orders.note or 'house formula'}")
    other = (book.balance_amount != 0) & (book.balance_asset != a.pot_asset[a.balance_pot])
    held = {book.registry.assets[i] for i in book.balance_asset[other]}
    # A table that is not known whole is no gap for a coin that it lists; how a coin is stressed is.
    rules = data.collateral.assets
    open_ = {name for name in held if name not in rules or rules[name].stress != "none"}
    if data.collateral.confidence == "unconfirmed" and open_:
        found.append(f"collateral: {data.collateral.note or 'haircuts incomplete'}")
    found += [
        f"collateral of {name}: the venue's total is not supplied, its weight is not scaled"
        for name in sorted(held)
        if (rule := asset_rule(frame.ruleset, name)) is not None and rule.unscaled
    ]
    return found


def notes(
    frame: Frame,
    account: AccountFile,
    snapshot: Snapshot,
    need: Requirement,
    have: Equity,
    excess: tuple[float, float],
) -> list[str]:
    """Say aloud what a reader must know and could not see from the numbers.

    `excess` is equity less requirement, initial and maintenance, US dollars.
    """
    out = _rule_notes(frame, account, need, excess)
    out += _money_notes(frame, have)
    out += size_notes(frame, account)
    if frame.ruleset.overrides:
        out.append("Supplied by the user: " + ", ".join(frame.ruleset.overrides) + ".")
    return out + _position_notes(frame, snapshot)


def _rule_notes(
    frame: Frame, account: AccountFile, need: Requirement, excess: tuple[float, float]
) -> list[str]:
    """Say what the rule-set leaves open for this account, and how its venue reports."""
    book, data = frame.book, frame.ruleset.data
    out = []
    if not account.positions:
        debt = " beyond what its debt needs" if any(book.balance_amount < 0) else ""
        out.append(f"The account has balances and no positions: nothing is required{debt}.")
    if not frame.ruleset.complete:
        here = gaps_here(frame, need)
        touched = (
            "without a source, and touching this account: " + "; ".join(here)
            if here
            else "nothing without a source touches this account"
        )
        out.append(f"Rule-set {data.id} is incomplete; {touched}.")
    past = frame.view.history
    if data.tail is not UNSET and past is not None and past.days:
        named = f"in {past.source} " if past.source else ""
        out.append(
            f"Scenarios come from {len(past.days):,} daily closes {named}to {past.days[-1]}."
        )
    if data.net_margin:
        out.append(
            f"The venue reports margin net of the account's value: initial {excess[0]:,.2f} USD, "
            f"maintenance {excess[1]:,.2f} USD; it asks for at least 0."
        )
    return out


def _money_notes(frame: Frame, have: Equity) -> list[str]:
    """Say which money does not count, or is not there."""
    out = []
    if frame.ruleset.data.pools.by == "position":
        lacking = -float(np.minimum(have.mm[frame.arrangement.pot_position < 0], 0.0).sum())
        if lacking > 0:
            out.append(
                f"The wallet lacks {lacking:,.2f} USD to give every position its fenced margin: "
                "the account could not hold them all apart; its pots' health is hypothetical."
            )
    for level, cut in (("initial", have.withheld_im), ("maintenance", have.withheld_mm)):
        usd = float(cut @ frame.pot_usd)
        if usd > 0:
            out.append(
                f"Profit and collateral of {usd:,.2f} USD do not count for {level} margin: profit "
                "weights and joint caps of the rule-set."
            )
    if frame.left_out is not None and frame.left_out.status.any():
        out.append("Not counted: " + "; ".join(_left_out_words(frame)) + ".")
    return out


def _position_notes(frame: Frame, snapshot: Snapshot) -> list[str]:
    """Say what was taken for granted about positions: settled profit, expiry, names."""
    book, view, terms = frame.book, frame.view, frame.terms
    out = []
    futures = np.isin(
        terms.kind[book.position_instrument], [KIND_CODE["perpetual"], KIND_CODE["future"]]
    )
    at_mark = [
        book.registry[int(i)].id
        for i, entry, fut in zip(book.position_instrument, book.position_entry, futures)
        if fut and np.isnan(entry)
    ]
    if at_mark:
        out.append("Profit already settled into the balance: " + ", ".join(at_mark) + ".")
    gone = [book.registry[int(i)].id for i in book.position_instrument if view.settled[i]]
    if gone:
        out.append(
            "Expired by the moment of valuation and settled at the index of "
            f"{format_time(snapshot.as_of_ns)}: " + ", ".join(gone) + "."
        )
    if snapshot.moment_ns != snapshot.as_of_ns:
        out.append(
            f"Valued at {format_time(snapshot.moment_ns)} on the market of "
            f"{format_time(snapshot.as_of_ns)}: prices and volatilities unchanged, time passed."
        )
    opaque = sorted(
        {
            book.registry[int(i)].id
            for i in book.position_instrument
            if deribit_name(book.registry[int(i)]) is None
        }
    )
    if opaque:
        out.append("Named by unified symbol: " + ", ".join(opaque) + ".")
    return out


def _left_out_words(frame: Frame) -> list[str]:
    """Say which balances do not count, and why."""
    book, left = frame.book, frame.left_out
    assert left is not None
    why = {"pending": "on its way", "stale": "its proof is missing or too old"}
    words = []
    for row in np.flatnonzero(left.status):
        place = int(book.balance_location[row])
        where = "" if place < 0 else f" at {book.locations[place]}"
        asset = book.registry.assets[int(book.balance_asset[row])]
        reason = why[STATUS[left.status[row]]]
        words.append(f"{left.amount[row]:,.10g} {asset}{where} ({reason})")
    return words
