"""What of profit, option value, collateral and debt counts, beyond haircuts coin by coin.

Source
------
Weights and caps of unrealised profit: reference/venues.md §7 (Drift v2, published) and §8
(Mango v4, published). Option value in equity: §2 (OKX, secondary) and §4 (Bybit, published).
Debts in the requirement: §7 and §9 (published). Joint cap: §5, portfolio margin (published).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import RulesetError
from crossmargin.instruments import KIND_CODE
from crossmargin.margin._cuts import Cuts, haircuts
from crossmargin.margin._formula import Part
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin._lookup import distinct
from crossmargin.margin.components import Debt, ProfitRule

Floats = NDArray[np.float64]


def counted_options(frame: Frame, value: Floats) -> Floats:
    """Return the value of positions as far as option value counts in equity.

    Parameters
    ----------
    frame : Frame
        Book, rules and market.
    value : float64[N]
        Market value of each position, in its settlement asset.
    """
    counts = frame.ruleset.data.collateral.option_value
    if counts == "all":
        return value
    option = frame.terms.kind[frame.book.position_instrument] == KIND_CODE["option"]
    kept = np.minimum(value, 0.0) if counts == "short" else np.zeros(value.size)
    return np.where(option, kept, value)


def balances_at_market(frame: Frame) -> Floats:
    """Return each balance at market, in the numeraire of its pot, shape ``[B]``."""
    book, a = frame.book, frame.arrangement
    usd = frame.asset_usd_or_one[book.balance_asset]
    own = book.balance_asset == a.pot_asset[a.balance_pot]
    per = np.where(own, 1.0, usd / frame.pot_usd[a.balance_pot])
    return np.where(book.balance_amount == 0.0, 0.0, book.balance_amount * per)


def debts(frame: Frame, at_market: Floats, cuts: Cuts) -> Floats:
    """Return weighted debts by pot at both levels, at least 0, shape ``[2, P]``.

    A debt weighs its market value times the liability weight of its coin.
    """
    a = frame.arrangement
    owed = np.stack([cuts.balance_im, cuts.balance_mm]) - at_market
    owed = np.where(at_market < 0, owed, 0.0)
    return np.stack([sum_by(row, a.balance_pot, a.pots) for row in owed])


def run_debts(spec: Debt, frame: Frame) -> tuple[Floats, Floats]:
    """Return debts as a requirement: IM and MM by pot, in the numeraire.

    Raises
    ------
    RulesetError
        ``RUL-015`` when a coin is owed whose liability weight is not known.
    """
    if spec.assets is not None:
        _refuse_unknown(spec, frame)
    at_market = balances_at_market(frame)
    profit, value = frame.position_values()
    cuts = haircuts(frame, at_market, profit, counted_options(frame, value))
    im, mm = debts(frame, at_market, cuts)
    return im, mm


def _refuse_unknown(spec: Debt, frame: Frame) -> None:
    """Refuse accounts that owe a coin whose liability weight is not known."""
    book, names = frame.book, frame.book.registry.assets
    known = np.array([name in (spec.assets or ()) for name in names], dtype=np.bool_)
    rows = np.flatnonzero((book.balance_amount < 0) & ~known[book.balance_asset])
    rows = rows[np.argsort(book.balance_asset[rows], kind="stable")]

    def reason(row: int) -> RulesetError:
        name = names[int(book.balance_asset[rows[row]])]
        return RulesetError(
            f"the account owes {name}, whose liability weight rule-set "
            f"{frame.ruleset.id!r} does not know",
            code="RUL-015",
            field=f"collateral.assets.{name}.liability_im",
            hint=f"supply liability_im and liability_mm, and add {name} to "
            f"components.{spec.name}.assets",
        )

    frame.refuse(frame.arrangement.balance_pot[rows], reason)


def withheld(
    frame: Frame, parts: Mapping[str, Part], at_market: Floats, profit: Floats, cuts: Cuts
) -> Floats:
    """Return what does not count at both levels, by pot, in the numeraire, shape ``[2, P]``.

    Parameters
    ----------
    frame : Frame
        Book, rules and market.
    parts : mapping of str to Part
        Components of the requirement, where profit counts after one of them.
    at_market : float64[B]
        Balances, in the numeraire.
    profit : float64[N]
        Unrealised profit, in the settlement asset.
    cuts : Cuts
        Haircuts by row, which a joint cap comes after.
    """
    return _profit_withheld(frame, parts, profit) + _beyond_joint_cap(frame, at_market, cuts)


def _profit_withheld(frame: Frame, parts: Mapping[str, Part], profit: Floats) -> Floats:
    """Profit of each market that does not count: ``p⁺ − min(w·p⁺, cap)``."""
    a = frame.arrangement
    rules = frame.ruleset.data.collateral.profit
    out = np.zeros((2, a.groups))
    if not rules:
        return np.zeros((2, a.pots))
    gained = sum_by(profit * frame.position_rate, a.position_group, a.groups)
    for asset in distinct(a.group_underlying).tolist():
        name = frame.book.registry.assets[asset]
        rule = rules.get(name) or rules.get("default")
        if rule is None:
            continue
        mine = a.group_underlying == asset
        out[:, mine] = _weighed(frame, rule, parts, gained)[:, mine]
    return np.stack([sum_by(row, a.group_pot, a.pots) for row in out])


def _weighed(frame: Frame, rule: ProfitRule, parts: Mapping[str, Part], gained: Floats) -> Floats:
    a = frame.arrangement
    out = np.zeros((2, gained.size))
    for row, (weight, cap) in enumerate(((rule.im, rule.cap_im_usd), (rule.mm, rule.cap_mm_usd))):
        base = gained
        if rule.after is not None:
            part = parts[rule.after]
            base = gained - (part.im if row == 0 else part.mm)
        base = np.maximum(base, 0.0)
        limit = np.inf if cap is None else cap / frame.pot_usd[a.group_pot]
        out[row] = base - np.minimum(weight * base, limit)
    return out


def _beyond_joint_cap(frame: Frame, at_market: Floats, cuts: Cuts) -> Floats:
    """Return the counted value of capped collateral beyond the joint cap, by pot."""
    a, book = frame.arrangement, frame.book
    cap = frame.ruleset.data.collateral.joint_cap
    out = np.zeros((2, a.pots))
    if cap is None:
        return out
    free = np.array([name in cap.besides for name in book.registry.assets], dtype=bool)
    capped = (at_market > 0) & ~free[book.balance_asset]
    for row, cut in enumerate((cuts.balance_im, cuts.balance_mm)):
        counted = np.where(capped, at_market - cut, 0.0)
        together = sum_by(counted, a.balance_pot, a.pots)
        out[row] = np.maximum(together - cap.usd / frame.pot_usd, 0.0)
    return out
