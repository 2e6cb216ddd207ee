"""Venue rules by rate and weight, written again in slow plain Python.

Nothing here is shared with ``crossmargin.margin``: every function is a formula of
reference/venues.md (the section is named) over plain numbers, with loops and without arrays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

Bracket = tuple[float, float, float]  # floor, IM rate, MM rate


# ------------------------------------------------------------------------- §3, §4: brackets


def slices(size: float, brackets: Sequence[Bracket], column: int) -> float:
    """Marginal brackets by adding up the slices; no deduction is used."""
    total = 0.0
    for place, row in enumerate(brackets):
        upper = brackets[place + 1][0] if place + 1 < len(brackets) else math.inf
        part = min(size, upper) - row[0]
        if part > 0:
            total += part * row[column]
    return total


def bracket_of(size: float, brackets: Sequence[Bracket]) -> Bracket:
    """The bracket that holds the whole size; a bound belongs to the lower one."""
    found = brackets[0]
    for row in brackets:
        if size > row[0]:
            found = row
    return found


def bracket_initial(size: float, brackets: Sequence[Bracket], leverage: float | None) -> float:
    """Notional over the leverage: the one chosen, at most the bracket's."""
    largest = 1.0 / bracket_of(size, brackets)[1]
    return size / (largest if leverage is None else min(leverage, largest))


def binance_liquidation(
    wallet: float,
    quantity: float,
    entry: float,
    brackets: Sequence[Bracket],
    other_mm: float = 0.0,
    other_profit: float = 0.0,
) -> float | None:
    """§3, one-way: LP = (WB − TMM1 + UPNL1 + cum − side·|q|·EP) / (|q|·mmr − side·|q|).

    Solved in every bracket; the one whose price lands in it again is the answer.
    """
    side, size = (1.0 if quantity > 0 else -1.0), abs(quantity)
    cum, before = 0.0, brackets[0]
    for place, row in enumerate(brackets):
        cum += row[0] * (row[2] - before[2]) if place else 0.0
        before = row
        top = wallet - other_mm + other_profit + cum - side * size * entry
        price = top / (size * row[2] - side * size)
        if price > 0 and bracket_of(price * size, brackets) == row:
            return price
    return None


# ------------------------------------------------------------------------- §2: OKX


def okx_option(
    mark: float, strike: float, forward: float, *, call: bool, c: float, mf: float = 1.0
) -> tuple[float, float]:
    """IM and MM of one coin of a short coin-margined option, everything in coin."""
    otm = max(strike - forward, 0.0) if call else max(forward - strike, 0.0)
    im = max(0.10, 0.15 - otm / forward) * mf + mark
    mm = (c if call else max(c, c * mark)) * mf + mark
    return im, mm


# ------------------------------------------------------------------------- §6: dYdX


def dydx_fraction(base: Fraction, oi: Fraction, lower: Fraction, upper: Fraction) -> Fraction:
    """Initial margin fraction in exact rationals, floored to millionths."""
    if upper == 0:
        return base
    if oi >= upper:
        return Fraction(1)
    grown = min(Fraction(1), base + max(Fraction(0), (oi - lower) / (upper - lower)) * (1 - base))
    return Fraction(math.floor(grown * 1_000_000), 1_000_000)


def dydx_risk(quote: int, positions: Sequence[Mapping[str, Fraction]]) -> tuple[int, int, int]:
    """NC, IMR and MMR in quote quanta; positions as coins, price and the tier's fractions."""
    net, im, mm = quote, 0, 0
    for p in positions:
        exact = p["coins"] * p["price"] * 1_000_000
        notional = math.trunc(exact)
        net += notional
        scaled = dydx_fraction(p["base"], p["oi"], p["lower"], p["upper"])
        im += math.ceil(abs(notional) * max(scaled, p["user"]))
        mm += math.ceil(math.ceil(abs(notional) * p["base"]) * p["fraction"])
    return net, im, mm


# ------------------------------------------------------------------------- §7: Drift


def drift(
    level: int,
    deposits: Sequence[tuple[float, float, tuple[float, float], float]],
    borrows: Sequence[tuple[float, float, tuple[float, float]]],
    perps: Sequence[tuple[float, float, float, tuple[float, float], float]],
    profit_weight: tuple[float, float],
    orders: int = 0,
) -> tuple[float, float]:
    """Total collateral and requirement of one account; level 0 initial, 1 maintenance.

    Deposits are (amount, price, weights, imf), borrows (amount, price, weights), perps (quantity,
    oracle price, entry, ratios, imf).
    """
    collateral = 0.0
    for amount, price, weights, imf in deposits:
        scaled = 1.1 / (1.0 + imf * math.sqrt(amount))
        collateral += amount * price * min(weights[level], scaled)
    need = 0.01 * orders
    for amount, price, weights in borrows:
        need += amount * price * weights[level]
    for quantity, price, entry, ratios, imf in perps:
        profit = quantity * (price - entry)
        if profit > 0:
            profit *= profit_weight[level]
            if level == 0:
                profit = min(profit, 100.0)
        collateral += profit
        ratio = ratios[level]
        ratio = max(ratio, 0.8 * ratio + imf * math.sqrt(abs(quantity)))
        need += abs(quantity) * price * ratio
    return collateral, need


# ------------------------------------------------------------------------- §8: Mango


def mango_health(
    level: int,
    tokens: Sequence[tuple[float, float, float | None, tuple[float, float], tuple[float, float]]],
    perps: Sequence[
        tuple[float, float, float, float | None, tuple[float, float], tuple[float, float], float]
    ],
) -> float:
    """Health: tokens (balance, oracle, stable, asset weights, liability weights), perps (base,
    oracle, entry, stable, asset weights, liability weights, overall weight)."""
    health = 0.0
    for balance, oracle, stable, asset, liability in tokens:
        near = oracle if stable is None or level == 1 else stable
        price = min(oracle, near) if balance >= 0 else max(oracle, near)
        health += balance * price * (asset if balance >= 0 else liability)[level]
    for base, oracle, entry, stable, asset, liability, overall in perps:
        near = oracle if stable is None or level == 1 else stable
        price = min(oracle, near) if base >= 0 else max(oracle, near)
        quote = -base * entry
        unweighted = quote + base * (asset if base >= 0 else liability)[level] * price
        health += unweighted * overall if unweighted > 0 else unweighted
    return health


# ------------------------------------------------------------------------- §5, §9: loan to value


def aave_health_factor(collateral: Sequence[tuple[float, float]], debts: Sequence[float]) -> float:
    """Σ value·threshold / Σ debt."""
    return sum(value * threshold for value, threshold in collateral) / sum(debts)


def hyperliquid_ratio(
    borrowed: float,
    balance: float,
    perp_mm: float,
    coins: Sequence[tuple[float, float, float, float]],
    borrow_cap: float = 1_000_000.0,
) -> float:
    """Ratio of one borrowable token at price 1; coins (balance, price, supply cap, threshold)."""
    backed = sum(min(held, cap) * price * share for held, price, cap, share in coins)
    return (20.0 + perp_mm + borrowed) / (balance + min(borrow_cap, backed))
