"""Haircuts of a book: which rows share a schedule, and what each row loses at each level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import RulesetError
from crossmargin.instruments import KIND_CODE
from crossmargin.margin._arrange import buckets
from crossmargin.margin._frame import Frame
from crossmargin.margin._location import bridge_haircuts
from crossmargin.margin._lookup import attempt
from crossmargin.margin._protect import protect_haircut
from crossmargin.margin.collateral import Level, haircut_of, liability_haircut
from crossmargin.margin.components import AssetRule
from crossmargin.margin.ruleset import Ruleset

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Cuts:
    """What does not count, by row, in the numeraire of the row's pot.

    Attributes
    ----------
    balance_im, balance_mm : float64[B]
        Market value less counted value; for a debt what its weight adds.
    position_im, position_mm : float64[N]
        The same for spot held as a position (and, under ``per = "coin"``, for what positions
        add to their coin's equity).
    """

    balance_im: Floats
    balance_mm: Floats
    position_im: Floats
    position_mm: Floats


@dataclass(frozen=True, slots=True)
class _Rows:
    """Balances, then the positions that are coins (which: `position`), as amounts of coins."""

    asset: Ints
    pot: Ints
    amount: Floats
    worth: Floats
    active: Flags
    position: Ints


def asset_rule(ruleset: Ruleset, asset: str) -> AssetRule | None:
    """Return how a balance of an asset counts, or None when the rule-set does not say."""
    collateral = ruleset.data.collateral
    if collateral.mode is not None and asset in collateral.modes[collateral.mode]:
        return collateral.modes[collateral.mode][asset]
    return collateral.assets.get(asset) or collateral.assets.get("default")


def haircuts(frame: Frame, at_market: Floats, profit: Floats, value: Floats) -> Cuts:
    """Compute what haircuts, caps and liability weights take from each row.

    A pot's own numeraire is never cut. Several rows of one coin in one pot (locations, spot held
    as a position) share one schedule and split its result in proportion to their value.

    Parameters
    ----------
    frame : Frame
        Book, rules and market.
    at_market : float64[B]
        Balances at market, in the numeraire.
    profit, value : float64[N]
        Of positions, in their settlement asset.

    Raises
    ------
    RulesetError
        ``RUL-020`` when a coin that is worth something has no haircut in the rule-set,
        ``RUL-025`` when a weight needs a figure that is not supplied.
    """
    rows = _rows(frame, at_market, profit, value)
    out = np.zeros((2, rows.worth.size))
    bridge = frame.once("bridge", lambda: bridge_haircuts(frame.book, frame.ruleset))
    active = np.flatnonzero(rows.active)
    order = active[np.argsort(rows.asset[active], kind="stable")]
    ends = np.flatnonzero(np.diff(rows.asset[order])) + 1
    for mine in np.split(order, ends) if order.size else []:
        _cut_asset(frame, rows, int(rows.asset[mine[0]]), mine, out)
    n = at_market.size
    # What a bridge takes, it takes from what the asset's own haircut left of a row.
    bridged = np.where(at_market > 0, bridge, 0.0)
    out[:, :n] += bridged * (at_market - out[:, :n])
    held = np.zeros((2, profit.size))
    held[:, rows.position] = out[:, n:]
    return Cuts(out[0, :n], out[1, :n], held[0], held[1])


def _rows(frame: Frame, at_market: Floats, profit: Floats, value: Floats) -> _Rows:
    book, a = frame.book, frame.arrangement
    whole = frame.ruleset.data.collateral.per == "coin"
    spot = frame.terms.kind[book.position_instrument] == KIND_CODE["spot"]
    # Only spot is a coin that is held; with equity per coin everything is paid in one.
    position = np.arange(spot.size) if whole else np.flatnonzero(spot)
    spot, index = spot[position], book.position_instrument[position]
    coins = book.position_quantity[position] * frame.terms.contract_size[index]
    paid = frame.terms.settlement[index]
    asset = np.concatenate(
        [book.balance_asset, np.where(spot, frame.terms.underlying[index], paid)]
    )
    pot = np.concatenate([a.balance_pot, a.position_pot[position]])
    gained = np.where(spot, value[position], profit[position] + value[position] if whole else 0.0)
    worth = np.concatenate([at_market, gained * frame.position_rate[position]])
    amount = np.concatenate([book.balance_amount, np.where(spot, coins, gained)])
    active = (worth != 0) & (asset != a.pot_asset[pot])
    if whole:
        # Profit in plain dollars is the numeraire of a dollar pot.
        dollars = np.array([name == "USD" for name in book.registry.assets], dtype=bool)
        active[book.balance_amount.size :] &= ~dollars[asset[book.balance_amount.size :]]
    return _Rows(asset, pot, amount, worth, active, position)


def _cut_asset(frame: Frame, rows: _Rows, asset: int, mine: Ints, out: Floats) -> None:
    """Write the cuts of one asset's rows into `out` [level, row]."""
    first, place = buckets(rows.pot[mine])
    worth, amount = rows.worth[mine], rows.amount[mine]
    if frame.ruleset.data.collateral.per == "coin":
        net = np.bincount(place, weights=worth, minlength=first.size)
        positive = (net > 0)[place]
    else:
        positive = worth > 0
    rule = asset_rule(frame.ruleset, frame.book.registry.assets[asset])
    if rule is None:
        # In pots of one currency only spot comes here, and no haircut is looked for.
        if frame.ruleset.data.pools.by != "settlement":
            frame.refuse(rows.pot[mine[positive]], lambda _: _refusal(frame, asset))
        return
    rate = frame.pot_usd[rows.pot[mine]]
    par = rate if rule.price == "par" else np.ones(mine.size)
    for side in (True, False):
        chosen = np.flatnonzero(positive == side)
        if not chosen.size:
            continue
        where = place[chosen]
        coins = np.abs(np.bincount(where, weights=amount[chosen], minlength=first.size))
        usd = np.abs(np.bincount(where, weights=(worth * rate)[chosen], minlength=first.size))
        for row, level in enumerate(_LEVELS):
            cut = attempt(
                frame,
                rows.pot[mine[chosen]],
                lambda level=level, coins=coins, usd=usd, side=side: _haircut_at(  # type: ignore[misc]
                    frame, asset, rule, level, coins, usd, positive=side
                ),
                np.zeros(first.size),
            )[where]
            out[row, mine[chosen]] = worth[chosen] * (cut * par[chosen] + (1.0 - par[chosen]))


_LEVELS: tuple[Level, Level] = ("im", "mm")


def _haircut_at(
    frame: Frame,
    asset: int,
    rule: AssetRule,
    level: Level,
    coins: Floats,
    usd: Floats,
    *,
    positive: bool,
) -> Floats:
    """Return the haircut of a coin by pot: the one place where a haircut is decided.

    A positive balance of a coin whose price is not trusted is cut more (protect mode).
    """
    where = f"collateral.assets.{_rule_name(frame, asset)}"
    if positive:
        levels = frame.ruleset.data.collateral.haircut_levels
        cut = haircut_of(rule, level, levels, coins, usd, where=where)
        # A level that haircuts do not touch stays untouched.
        if level == "im" or level in levels or rule.at(level) is not None:
            cut = protect_haircut(frame, asset, cut)
    else:
        cut = liability_haircut(rule, level, coins, where=where)
    stable = frame.ruleset.data.collateral.stable_usd.get(frame.book.registry.assets[asset])
    if stable is None or level == "mm":
        return cut
    ratio = stable / float(frame.asset_usd_or_one[asset])
    return 1.0 - (1.0 - cut) * (min(1.0, ratio) if positive else max(1.0, ratio))


def _rule_name(frame: Frame, asset: int) -> str:
    name = frame.book.registry.assets[asset]
    return name if name in frame.ruleset.data.collateral.assets else "default"


def _refusal(frame: Frame, asset: int) -> RulesetError:
    name = frame.book.registry.assets[asset]
    return RulesetError(
        f"rule-set {frame.ruleset.id!r} has no haircut for {name}",
        code="RUL-020",
        field=f"collateral.assets.{name}",
        hint=f"supply it, for example --set collateral.assets.{name}.haircut=0.1",
    )
