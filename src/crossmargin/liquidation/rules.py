"""Liquidation rules as data: a venue is a list of steps over kinds that have names.

A figure that nobody has published is missing from the file. Where a step cannot act without it the
step is refused when it is needed; where it can (a fee) it is left out, and named among the gaps.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from crossmargin.codec import Certainty
from crossmargin.errors import LiquidationError
from crossmargin.figures import Data, Origin
from crossmargin.liquidation.account import Line
from crossmargin.liquidation.adl import adl_rule_ids
from crossmargin.liquidation.auction import AuctionTerms
from crossmargin.liquidation.figures import (
    convert,
    parse_toml,
    require_sources,
    shipped_texts,
    unknown,
)
from crossmargin.liquidation.policies import Policy
from crossmargin.liquidation.sharing import Rule
from crossmargin.liquidation.takeover import TakeoverPrice

Share = Annotated[float, Meta(ge=0, le=1)]
NonNegative = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]

#: How an order is placed: at any price, or no worse than the account's bankruptcy price.
Limit = Literal["market", "bankruptcy"]


class _Step(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"
):
    """Fields of every step.

    Attributes
    ----------
    name : str
        Unique within the rules: what a trail says was obeyed.
    interval_s : float
        Least time from one action of this step to the next.
    """

    name: str
    source: str
    confidence: Certainty
    note: str = ""
    interval_s: NonNegative = 0.0


class _Closing(_Step, frozen=True, kw_only=True):
    """A step that closes positions in the market.

    Attributes
    ----------
    fee_rate : float or None
        Charged on what is closed; None where no figure is known, and nothing is charged.
    """

    fee_rate: Share | None = None


class CancelOrders(_Step, frozen=True, kw_only=True, tag="cancel-orders"):
    """Cancel every resting order, and look again."""


class NetPairs(_Step, frozen=True, kw_only=True, tag="net-pairs"):
    """Close long and short legs of one contract against each other, at the mark."""


class ReduceSufficient(_Closing, frozen=True, kw_only=True, tag="reduce-sufficient"):
    """Close as little as brings the account to its target, in the order of a policy."""

    policy: Policy
    limit: Limit = "market"


class ReduceShare(_Closing, frozen=True, kw_only=True, tag="reduce-share"):
    """Send a share of large legs, then whole legs for a while.

    Attributes
    ----------
    share : float
        Of a leg whose notional is above `above_usd`; smaller ones go whole.
    window_s : float
        After a share was sent, orders go for the whole leg for so long.
    """

    share: Annotated[float, Meta(gt=0, le=1)]
    above_usd: NonNegative
    window_s: NonNegative


class TierSteps(_Closing, frozen=True, kw_only=True, tag="tier-steps"):
    """Cut the leg in the highest bracket down by brackets.

    Attributes
    ----------
    tiers : int
        Brackets at a time.
    from_tier : int
        The lowest bracket, counted from 1, from which is cut; legs below it are left to the
        steps after.
    rounds : int or None
        How many cuts at one time; None until the account is well or no such leg is left.
    fill_or_kill : bool
        Whether an order that the book cannot fill whole is not filled at all.
    """

    tiers: Annotated[int, Meta(ge=1)]
    from_tier: Annotated[int, Meta(ge=2)]
    rounds: Annotated[int, Meta(ge=1)] | None = None
    limit: Limit = "market"
    fill_or_kill: bool = False


class RampedShortage(_Closing, frozen=True, kw_only=True, tag="ramped-shortage"):
    """Free a share of the shortage that grows with time.

    Attributes
    ----------
    initial_share : float or None
        At once; None where it must be supplied.
    duration_s : float or None
        Time over which the rest of it is let go; None where it must be supplied.
    small_usd : float
        A shortage below is freed whole at once.
    """

    policy: Policy
    initial_share: Share | None = None
    duration_s: Positive | None = None
    small_usd: NonNegative = 0.0


class CappedReduce(_Closing, frozen=True, kw_only=True, tag="capped-reduce"):
    """Close a capped part of one leg, drawn by the caller, at no worse than a fillable price.

    Attributes
    ----------
    most_share : float
        Of the leg.
    most_usd, least_usd : float
        Notional; the floor counts for more than the cap on the share.
    adjustment, spread : float
        BA and SMMR of the fillable price.
    most_fund_usd : float
        What one action may cost the fund.
    """

    most_share: Share
    most_usd: Positive
    least_usd: NonNegative
    adjustment: Positive = 1.0
    spread: Positive = 1.5
    most_fund_usd: NonNegative


class TakeOver(_Step, frozen=True, kw_only=True, tag="takeover"):
    """Hand everything to a taker.

    Attributes
    ----------
    when : {"exhausted", "below-share", "bankrupt"}
        Where the steps before did not suffice; where equity is below `share` of MM; below 0.
    taker : str
        Who takes it: a fund, a vault.
    """

    when: Literal["exhausted", "below-share", "bankrupt"]
    taker: str
    price: TakeoverPrice
    share: Share = 0.0


class AuctionStep(_Step, frozen=True, kw_only=True, tag="dutch-auction"):
    """Hand the account to an auction (:mod:`crossmargin.liquidation.auction`)."""

    terms: AuctionTerms


Step = (
    CancelOrders
    | NetPairs
    | ReduceSufficient
    | ReduceShare
    | TierSteps
    | RampedShortage
    | CappedReduce
    | TakeOver
    | AuctionStep
)


class Trigger(Data, frozen=True, kw_only=True):
    """Where liquidation begins, and where it ends.

    Attributes
    ----------
    factor, amount_usd : float
        Begins where ``equity < factor·MM + amount``; equality is safe.
    buffer : float
        Ends where ``equity ≥ factor·(1 + buffer)·MM + amount``.
    """

    factor: Positive = 1.0
    amount_usd: NonNegative = 0.0
    buffer: NonNegative = 0.0
    source: str
    confidence: Certainty
    note: str = ""


class LayerRule(Data, frozen=True, kw_only=True):
    """One layer of last resort.

    Attributes
    ----------
    name : str
        ``fund``, ``adl``, ``socialised-loss``, or the venue's own word for who pays.
    limit_usd : float or None
        The most that one loss may take of it.
    adl : str or None
        Rule by which holders are closed.
    share : Rule or None
        Rule by which a loss is shared.
    drawdown : float or None
        Fall of the fund from its peak at which the next layer is called upon.
    window_h : float
        Over which the peak is taken.
    """

    name: str
    source: str
    confidence: Certainty
    note: str = ""
    limit_usd: NonNegative | None = None
    adl: str | None = None
    share: Rule | None = None
    drawdown: Share | None = None
    window_h: NonNegative = 0.0


class LiquidationRules(Data, frozen=True, kw_only=True):
    """A venue's liquidation."""

    format: Literal["crossmargin-liquidation/1"]
    id: str
    venue: str
    title: str
    sources: dict[str, Origin]
    trigger: Trigger
    steps: list[Step]
    layers: list[LayerRule]
    note: str = ""

    @property
    def line(self) -> Line:
        """Where liquidation begins."""
        return Line(self.trigger.factor, self.trigger.amount_usd)

    @property
    def target(self) -> Line:
        """Where it ends."""
        t = self.trigger
        return Line(t.factor * (1.0 + t.buffer), t.amount_usd)

    @property
    def gaps(self) -> list[str]:
        """Figures that no source gives, and steps that no source confirms."""
        found = []
        for step in self.steps:
            fields = msgspec.structs.asdict(step)
            missing = [n for n in ("fee_rate", "initial_share", "duration_s") if n in fields]
            found += [
                f"steps.{step.name}.{name}: not published"
                for name in missing
                if fields[name] is None
            ]
        cited = [(f"steps.{s.name}", s) for s in self.steps]
        parts = [*cited, *((f"layers.{x.name}", x) for x in self.layers), ("trigger", self.trigger)]
        for name, part in parts:
            if part.confidence in ("unconfirmed", "inferred"):
                found.append(f"{name}: {part.confidence}. {part.note}".rstrip(". "))
        return found

    @property
    def complete(self) -> bool:
        """Whether every figure has a source that confirms it."""
        return not self.gaps


def rules_from_dict(
    raw: Mapping[str, Any], *, overrides: Mapping[str, Any] | None = None, what: str = "rules"
) -> LiquidationRules:
    """Check rules given as plain data, and lay what the caller supplies over them.

    Parameters
    ----------
    raw : mapping
        As in a file.
    overrides : mapping of str to value, optional
        Dotted paths; steps and layers are addressed by name, for example
        ``{"steps.ramp.initial_share": 0.2}``.

    Raises
    ------
    LiquidationError
        ``LIQ-002`` malformed, ``LIQ-003`` a path or ADL rule that is not there.
    """
    content = copy.deepcopy(dict(raw))
    for path, value in (overrides or {}).items():
        _assign(content, path, value, what)
    rules = convert(content, LiquidationRules, what)
    parts = [*rules.steps, *rules.layers, rules.trigger]
    require_sources((part.source for part in parts), rules.sources, what)
    for kind, names in (
        ("steps", [s.name for s in rules.steps]),
        ("layers", [x.name for x in rules.layers]),
    ):
        if len(set(names)) != len(names):
            raise LiquidationError(f"{what} has two {kind} of one name", code="LIQ-002", field=kind)
    for layer in rules.layers:
        if layer.adl is not None and layer.adl not in adl_rule_ids():
            raise unknown("ADL rule", layer.adl, adl_rule_ids())
    return rules


def _assign(content: dict[str, Any], path: str, value: Any, what: str) -> None:
    node: Any = content
    *way, last = path.split(".")
    for part in way:
        if isinstance(node, list):
            node = next((x for x in node if x.get("name") == part), None)
        else:
            node = node.get(part)
        if not isinstance(node, dict | list):
            break
    if not isinstance(node, dict):
        raise LiquidationError(f"{what} has no parameter {path!r}", code="LIQ-003", field=path)
    node[last] = value


def rules_from_toml(
    text: str, *, overrides: Mapping[str, Any] | None = None, what: str = "rules"
) -> LiquidationRules:
    """Read rules from TOML text; see :func:`rules_from_dict`."""
    return rules_from_dict(parse_toml(text, what), overrides=overrides, what=what)


@lru_cache(maxsize=1)
def _shipped() -> dict[str, dict[str, Any]]:
    parsed = (parse_toml(text, name) for name, text in shipped_texts("rules").items())
    return {str(raw["id"]): raw for raw in parsed}


def liquidation_rule_ids() -> list[str]:
    """Return the ids of the shipped liquidation rules, sorted."""
    return sorted(_shipped())


def liquidation_rules(name: str, *, overrides: Mapping[str, Any] | None = None) -> LiquidationRules:
    """Return shipped rules, with what the caller supplies laid over them.

    Raises
    ------
    LiquidationError
        ``LIQ-003`` when there are none of that name, and as :func:`rules_from_dict`.
    """
    raw = _shipped().get(name)
    if raw is None:
        raise unknown("set of liquidation rules", name, _shipped())
    return rules_from_dict(raw, overrides=overrides, what=f"liquidation rules {name!r}")
