"""Protect mode inside the engine: wider haircuts, and what a pot may do on untrusted prices."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from crossmargin.instruments import expiry_of
from crossmargin.margin._frame import Frame
from crossmargin.margin.statement_types import ActionLine, ProtectLine, TrustLine
from crossmargin.market import Actions, ProtectState, allowed_actions
from crossmargin.units import format_time

Floats = NDArray[np.float64]


def protect_haircut(frame: Frame, asset: int, haircut: Floats) -> Floats:
    """Return the haircut of a balance, wider where the asset's price is not trusted.

    Parameters
    ----------
    frame : Frame
        Its market says which prices are trusted, and by how much a haircut is widened.
    asset : int
        Index of the asset in the book's registry.
    haircut : float64[K]
        By the rule-set, by pot.

    Returns
    -------
    float64[K]
        At least `haircut`, at most 1; `haircut` itself where nobody judges the prices.
    """
    state = frame.view.protect
    if state is None or frame.book.registry.assets[asset] not in state.untrusted_assets:
        return haircut
    policy = state.policy
    wider = haircut * policy.haircut_multiplier + policy.haircut_addition
    return np.asarray(np.maximum(haircut, np.minimum(1.0, wider)), dtype=np.float64)


def protect_of(frame: Frame, pot: int | None = None) -> ProtectState | None:
    """Return the verdicts on the prices that the book, or one pot of it, touches.

    A pot touches the underlying, settlement asset and quote of what it holds or has ordered, and
    every asset it has a balance or debt in.

    Parameters
    ----------
    frame : Frame
        Book and market.
    pot : int, optional
        One pot; by default the whole book.
    """
    state = frame.view.protect
    if state is None:
        return None
    book, a, registry = frame.book, frame.arrangement, frame.book.registry
    held = np.ones(book.position_instrument.size, dtype=bool)
    legs = np.ones(book.leg_instrument.size, dtype=bool)
    owned = book.balance_amount != 0.0
    if pot is not None:
        held, legs = a.position_pot == pot, a.group_pot[a.leg_group] == pot
        owned &= a.balance_pot == pot
    items = [
        registry[int(i)]
        for i in np.unique(
            np.concatenate([book.position_instrument[held], book.leg_instrument[legs]])
        )
    ]
    assets = {registry.assets[int(i)] for i in np.unique(book.balance_asset[owned])}
    forwards = set()
    for item in items:
        assets |= {item.underlying, item.settlement, item.quote}
        expiry = expiry_of(item)
        if expiry is not None:
            forwards.add((item.underlying, expiry))
    return state.touching(assets, {item.id for item in items}, forwards)


def permitted(frame: Frame, allowed: Collection[str] | None) -> Collection[str] | None:
    """Return which actions are allowed: as the caller says, else what the market's prices leave.

    Parameters
    ----------
    frame : Frame
        Whoever asks.
    allowed : collection of str or None
        Words of ``market.policy``'s actions; None leaves it to the prices.

    Returns
    -------
    collection of str or None
        None: everything.
    """
    if allowed is not None:
        return allowed
    state = protect_of(frame)
    if state is None or not state.untrusted:
        return None
    actions = allowed_actions(state)
    words = {
        "new-risk": actions.new_risk,
        "reduce": actions.reduce,
        "liquidate": actions.liquidate,
        "withdraw": actions.withdraw,
    }
    return {word for word, permission in words.items() if permission.allowed}


def protected_pots(frame: Frame) -> NDArray[np.bool_]:
    """Return which pots touch a price that is not trusted; for books of many accounts.

    Returns
    -------
    bool[P]
        The same as ``protect_of(frame, pot).active`` for every pot.
    """
    a, book, state = frame.arrangement, frame.book, frame.view.protect
    out = np.zeros(a.pots, dtype=bool)
    if state is None or not state.active:
        return out
    names = frame.book.registry.assets
    bad_asset = np.array([name in state.untrusted_assets for name in names], dtype=bool)
    other = {(v.subject, v.name, v.expiry_ns) for v in state.untrusted}
    bad = np.zeros(len(book.registry), dtype=bool)
    for index in frame.used:
        item = book.registry[int(index)]
        bad[index] = ("instrument", item.id, None) in other or (
            "forward",
            item.underlying,
            expiry_of(item),
        ) in other
    terms = frame.terms
    size = terms.underlying.size
    bad[:size] |= bad_asset[terms.underlying] | bad_asset[terms.settlement] | bad_asset[terms.quote]
    out[a.position_pot[bad[book.position_instrument]]] = True
    out[a.group_pot[a.leg_group[bad[book.leg_instrument]]]] = True
    out[a.balance_pot[bad_asset[book.balance_asset] & (book.balance_amount != 0.0)]] = True
    return out


def protected_state(state: ProtectState | None, by_numbers: str) -> str:
    """Return a pot's state when its prices are as trusted as `state` says.

    On untrusted prices nothing is liquidated and no risk is added, whatever the numbers say:
    the pot may only reduce.
    """
    actions = allowed_actions(state)
    if by_numbers in ("liquidation", "bankrupt") and not actions.liquidate.allowed:
        return "reduce-only"
    if by_numbers == "healthy" and not actions.new_risk.allowed:
        return "reduce-only"
    return by_numbers


def protect_line(state: ProtectState | None, by_numbers: str) -> ProtectLine | None:
    """Return protect mode as the statement shows it; None when nobody judges the prices."""
    if state is None:
        return None
    return ProtectLine(
        active=state.active,
        state_by_numbers=by_numbers,
        actions=_action_lines(allowed_actions(state)),
        prices=[
            TrustLine(
                subject=v.subject,
                name=v.name,
                expiry=None if v.expiry_ns is None else format_time(v.expiry_ns),
                state=v.state,
                reason=v.reason,
            )
            for v in state.verdicts
        ],
    )


def protect_notes(state: ProtectState | None, by_numbers: str) -> list[str]:
    """Say aloud what is not trusted and what follows, for the statement's notes."""
    if state is None:
        return []
    out = state.sentences()
    if by_numbers in ("liquidation", "bankrupt") and not allowed_actions(state).liquidate.allowed:
        out.insert(
            1,
            f"By the numbers the account is in {by_numbers}; on prices that are not trusted it "
            "is not liquidated.",
        )
    return out


def _action_lines(actions: Actions) -> list[ActionLine]:
    return [
        ActionLine(action=name, allowed=one.allowed, reasons=list(one.reasons))
        for name, one in (
            ("new-risk", actions.new_risk),
            ("reduce", actions.reduce),
            ("liquidate", actions.liquidate),
            ("withdraw", actions.withdraw),
        )
    ]
