"""From a loss to who bears it: fund, holders of the other side, everybody, as the rules order it.

One bankrupt position at a time, in quanta and whole contracts. The fund closes in the market as
much of the position as it can pay for; what it cannot is closed against holders, who bear the loss
on it; what nobody could be found for is shared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from crossmargin.errors import LiquidationError
from crossmargin.liquidation.adl import Deleveraging, adl_rule, deleverage
from crossmargin.liquidation.adl_scores import Candidates
from crossmargin.liquidation.rules import LayerRule, LiquidationRules
from crossmargin.liquidation.sharing import SharedLoss, largest_remainder, share_loss
from crossmargin.liquidation.waterfall import Fund, Layer, Waterfall, cover


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearers:
    """Who could bear a loss.

    Attributes
    ----------
    fund : Fund
        Of the contract's group.
    candidates : Candidates or None
        Holders of the other side.
    equity, contracts, profit : sequence of int
        What a shared loss is shared by, by account.
    others : mapping of str to int
        Quanta of any other layer, by its name.
    start : int
        Draw for a rule that walks.
    """

    fund: Fund
    candidates: Candidates | None = None
    equity: Sequence[int] = ()
    contracts: Sequence[int] = ()
    profit: Sequence[int] = ()
    others: Mapping[str, int] = field(default_factory=dict)
    start: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """Who bore a loss.

    Attributes
    ----------
    waterfall : Waterfall
        Layer by layer; sums to the loss.
    fund : Fund
        Afterwards.
    adl : Deleveraging or None
        Holders closed, where it came to that.
    adl_charged : tuple of int
        Quanta that each fill of `adl` bears, in its order.
    shared : SharedLoss or None
        What everybody bears.
    market_contracts : int
        Contracts left to be closed in the market, by whoever took the position over.
    """

    waterfall: Waterfall
    fund: Fund
    adl: Deleveraging | None
    adl_charged: tuple[int, ...]
    shared: SharedLoss | None
    market_contracts: int


def resolve_loss(
    rules: LiquidationRules,
    loss: int,
    position: int,
    price: float,
    bearers: Bearers,
    *,
    quanta_per_usd: int = 1_000_000,
) -> Resolution:
    """Lay the loss of one bankrupt position over the layers of its venue.

    Source: requirements rows B08 and B09 for the order and the arithmetic; that fund and holders
    split a position in the ratio of what they pay is ours (house).

    Parameters
    ----------
    rules : LiquidationRules
        Layers, in order.
    loss : int
        Quanta, at least 0: what the position's owner could not pay.
    position : int
        Signed contracts that were taken over.
    price : float
        At which holders are closed, as their rule's `settle` says.
    bearers : Bearers
        Who is there.
    quanta_per_usd : int
        For limits that the rules state in US dollars.

    Raises
    ------
    LiquidationError
        ``LIQ-008`` where a layer is called upon and what it needs was not given.
    """
    if loss < 0:
        raise LiquidationError("a loss is at least 0", code="LIQ-001", field="loss")
    rest, layers = loss, list[Layer]()
    adl: Deleveraging | None = None
    shared: SharedLoss | None = None
    for rule in rules.layers:
        limit = None if rule.limit_usd is None else int(rule.limit_usd * quanta_per_usd)
        if rule.adl is not None:
            adl, able = _against_holders(rule.adl, rest, loss, position, price, bearers)
        elif rule.share is not None:
            shared, able = _shared(rule, rest, bearers)
        else:
            able = _has(rule, bearers)
        layer = Layer(rule.name, able, limit)
        capacity = layer.capacity
        layers.append(layer)
        rest -= rest if capacity is None else min(rest, capacity)
    found = cover(loss, layers)
    borne = found.used(_adl_name(rules))
    charged = largest_remainder(borne, [f.contracts for f in adl.fills]) if adl and borne else []
    return Resolution(
        waterfall=found,
        fund=bearers.fund.after(paid=found.used("fund")),
        adl=adl,
        adl_charged=tuple(charged),
        shared=shared,
        market_contracts=abs(position) - (adl.contracts if adl else 0),
    )


def _adl_name(rules: LiquidationRules) -> str:
    return next((layer.name for layer in rules.layers if layer.adl is not None), "adl")


def _has(rule: LayerRule, bearers: Bearers) -> int:
    """Return what a plain layer has for this loss."""
    if rule.name != "fund":
        if rule.name not in bearers.others:
            raise LiquidationError(
                f"how much the layer {rule.name!r} can bear is not said",
                code="LIQ-008",
                field=f"others.{rule.name}",
            )
        return bearers.others[rule.name]
    fund = bearers.fund
    if rule.drawdown is None:
        return fund.balance
    # It is called upon only as far as its fall from the peak allows; the rest is the next layer's.
    floor = fund.peak - fund.peak * round(rule.drawdown * 1_000_000) // 1_000_000
    return max(0, fund.balance - floor)


def _against_holders(
    rule: str, rest: int, loss: int, position: int, price: float, bearers: Bearers
) -> tuple[Deleveraging | None, int]:
    """Close against holders what the layers above do not pay for."""
    if rest == 0 or position == 0:
        return None, 0
    if bearers.candidates is None:
        raise LiquidationError(
            "the loss reaches the holders of the other side, and none are given",
            code="LIQ-008",
            field="candidates",
        )
    contracts = -(-abs(position) * rest // loss)
    signed = contracts if position > 0 else -contracts
    found = deleverage(adl_rule(rule), signed, bearers.candidates, price, start=bearers.start)
    return found, rest * found.contracts // contracts


def _shared(rule: LayerRule, rest: int, bearers: Bearers) -> tuple[SharedLoss | None, int]:
    if rest == 0 or rule.share is None:
        return None, 0
    if rule.share == "contracts-pro-rata" and not any(bearers.contracts):
        # Nobody holds anything that it could be shared by.
        return None, 0
    found = share_loss(
        rule.share,
        rest,
        equity=bearers.equity,
        contracts=bearers.contracts,
        profit=bearers.profit,
    )
    return found, rest - found.uncovered


def layers_of(
    rules: LiquidationRules, available: Mapping[str, int | None], *, quanta_per_usd: int = 1_000_000
) -> list[Layer]:
    """Return the layers that bear what a takeover leaves, in the venue's order.

    Parameters
    ----------
    rules : LiquidationRules
        The venue's.
    available : mapping of str to int or None
        Quanta by layer; None where it bears whatever comes.
    quanta_per_usd : int
        For limits, which the rules state in US dollars.

    Raises
    ------
    LiquidationError
        ``LIQ-008`` where what a layer has is not said.
    """
    found = []
    for layer in rules.layers:
        if layer.name not in available:
            raise LiquidationError(
                f"how much the layer {layer.name!r} can bear is not said",
                code="LIQ-008",
                field=f"available.{layer.name}",
            )
        limit = None if layer.limit_usd is None else int(layer.limit_usd * quanta_per_usd)
        found.append(Layer(layer.name, available[layer.name], limit))
    return found


def with_purse(rules: LiquidationRules) -> LiquidationRules:
    """Put the taker's purse, which is the fund, before the layers of rules that name no fund.

    Source: cascades.md (a) step 9 for the order, backstop before deleveraging (house).
    """
    if any(layer.name == "fund" for layer in rules.layers):
        return rules
    purse = LayerRule(name="fund", source=rules.trigger.source, confidence="house")
    return msgspec.structs.replace(rules, layers=[purse, *rules.layers])
