"""Protect mode: what must not happen on prices that nobody should trust, said aloud.

Source: requirements row B11 (2 of 3 stale sources put the engine in protect mode: no new risk, no
liquidation on stale marks, haircuts widened, and it says so). Figures and the choice that only
those who touch an untrusted price are concerned: house (``docs/models/prices.md``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from crossmargin.errors import MarketDataError
from crossmargin.market.index import (
    IndexPrice,
    SourcePanel,
    TrustState,
    age_s,
    index_price,
)
from crossmargin.market.mark import BasisTick, diverges_from_twap
from crossmargin.market.policy import Action, TrustPolicy
from crossmargin.market.snapshot import CONFIDENCE_ONE, AssetPrice, Snapshot
from crossmargin.units import format_time

#: What a verdict is about.
Subject = Literal["asset", "instrument", "forward"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTrust:
    """What a snapshot's prices were formed from, and the policy they are judged by.

    Attributes
    ----------
    policy : TrustPolicy
        Figures.
    panels : mapping of str to SourcePanel
        By asset.
    basis : mapping of str to tuple of BasisTick
        By instrument id: history of its basis, where its mark is formed from the index.
    """

    policy: TrustPolicy
    panels: Mapping[str, SourcePanel] = field(default_factory=dict)
    basis: Mapping[str, tuple[BasisTick, ...]] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        """The whole content as bytes, independent of the order of entries."""
        tables = (sorted(self.panels.items()), sorted(self.basis.items()))
        return repr((self.policy, *tables)).encode()

    def restricted_to(self, assets: Collection[str], instruments: Collection[str]) -> PriceTrust:
        """Return only what concerns the given assets and instrument ids."""
        return replace(
            self,
            panels={k: v for k, v in self.panels.items() if k in assets},
            basis={k: v for k, v in self.basis.items() if k in instruments},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether one price may be trusted.

    Attributes
    ----------
    subject : {"asset", "instrument", "forward"}
        What kind of price.
    name : str
        Asset, instrument id, or underlying of a forward.
    state : {"trusted", "degraded", "untrusted"}
        The verdict.
    reason : str
        One clause; empty when trusted.
    expiry_ns : int or None
        Of a forward.
    """

    subject: Subject
    name: str
    state: TrustState
    reason: str = ""
    expiry_ns: int | None = None

    @property
    def what(self) -> str:
        """The price in words."""
        if self.subject == "asset":
            return f"the price of {self.name}"
        if self.subject == "forward":
            return f"the forward of {self.name} for {format_time(self.expiry_ns or 0)}"
        return f"the quote of {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectState:
    """The verdicts on a market's prices.

    Attributes
    ----------
    policy : TrustPolicy
        What follows from them.
    verdicts : tuple of Verdict
        Every asset; instruments and forwards only where they are not trusted.
    """

    policy: TrustPolicy
    verdicts: tuple[Verdict, ...]

    @property
    def untrusted(self) -> tuple[Verdict, ...]:
        """Verdicts that put whoever touches them in protect mode."""
        return tuple(v for v in self.verdicts if v.state == "untrusted")

    @property
    def active(self) -> bool:
        """Whether there is anything to protect from."""
        return bool(self.untrusted)

    @property
    def untrusted_assets(self) -> frozenset[str]:
        """Assets whose haircut is widened."""
        return frozenset(v.name for v in self.untrusted if v.subject == "asset")

    def touching(
        self,
        assets: Collection[str],
        instruments: Collection[str] = (),
        forwards: Collection[tuple[str, int]] = (),
    ) -> ProtectState:
        """Return only the verdicts that concern somebody.

        Parameters
        ----------
        assets : collection of str
            Assets held, owed, or underlying what is held.
        instruments : collection of str
            Ids of instruments held or ordered.
        forwards : collection of (str, int)
            Underlying and expiry of the dated ones among them.
        """

        def mine(v: Verdict) -> bool:
            if v.subject == "asset":
                return v.name in assets
            if v.subject == "forward":
                return (v.name, v.expiry_ns) in forwards
            return v.name in instruments

        return replace(self, verdicts=tuple(v for v in self.verdicts if mine(v)))

    def sentences(self) -> list[str]:
        """Say aloud what is not trusted, why, and what follows; empty when all is well."""
        out = []
        if self.active:
            named = "; ".join(f"{v.what} ({v.reason})" for v in self.untrusted)
            out.append(f"PROTECT MODE: not trusted: {named}.")
            out.append(_consequences(self))
        out += [
            f"Trusted with fewer sources: {v.what} ({v.reason})."
            for v in self.verdicts
            if v.state == "degraded"
        ]
        return out


_FORBIDDEN: dict[Action, str] = {
    "new-risk": "no new risk",
    "liquidate": "no liquidation",
    "withdraw": "no withdrawal",
}


def _consequences(state: ProtectState) -> str:
    words = [_FORBIDDEN[a] for a in _FORBIDDEN if a in state.policy.forbid]
    told = ", ".join(words) if words else "nothing is forbidden by the policy"
    text = f"While it lasts, for whoever touches these prices: {told}; reducing risk is allowed."
    assets = sorted(state.untrusted_assets)
    if assets:
        p = state.policy
        text += (
            f" Haircut of {', '.join(assets)} widened to haircut × {p.haircut_multiplier:g} + "
            f"{p.haircut_addition * 100:g} %, at most 100 %."
        )
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """Whether something may be done, and why or why not."""

    allowed: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Actions:
    """What may be done with, and to, somebody while prices are as they are.

    Attributes
    ----------
    new_risk, reduce, liquidate, withdraw : Permission
        Orders that add risk, orders that reduce it, forced closing, taking money out.
    """

    new_risk: Permission
    reduce: Permission
    liquidate: Permission
    withdraw: Permission


def allowed_actions(state: ProtectState | None) -> Actions:
    """Return what protect mode allows.

    Parameters
    ----------
    state : ProtectState or None
        Narrowed with :meth:`ProtectState.touching` to whoever asks; None when nobody judges
        the market's prices, which allows everything.

    Returns
    -------
    Actions
        A forbidden action names every untrusted price; reducing is always allowed.
    """
    bad = () if state is None else state.untrusted

    def ask(action: Action) -> Permission:
        if state is None or not bad or action not in state.policy.forbid:
            return Permission(allowed=True)
        return Permission(
            allowed=False,
            reasons=tuple(f"{v.what} is not trusted: {v.reason}" for v in bad),
        )

    always = Permission(
        allowed=True, reasons=("reducing risk is allowed in protect mode",) if bad else ()
    )
    return Actions(
        new_risk=ask("new-risk"),
        reduce=always,
        liquidate=ask("liquidate"),
        withdraw=ask("withdraw"),
    )


def panel_index(asset: str, panel: SourcePanel, as_of_ns: int, policy: TrustPolicy) -> IndexPrice:
    """Form the index of one asset's panel, errors naming the asset.

    Raises
    ------
    MarketDataError
        See :func:`~crossmargin.market.index.index_price`.
    """
    try:
        return index_price(panel.prints, as_of_ns, policy, last_good=panel.last_good)
    except MarketDataError as error:
        error.message = f"index of {asset}: {error.message}"
        raise error.located(field=f"assets.{asset}.sources") from None


def asset_from_index(found: IndexPrice, source: str = "") -> AssetPrice:
    """Return an index as a snapshot's asset price: its age, source and confidence with it."""
    used = ", ".join(r.name for r in found.readings if r.part == "used")
    told = f"index ({found.method})" + (f" of {used}" if used else "")
    return AssetPrice(
        price_usd=found.price_usd,
        time_ns=found.time_ns,
        source=source or told,
        confidence=found.confidence,
    )


def assess(snapshot: Snapshot, policy: TrustPolicy | None = None) -> ProtectState | None:
    """Judge every price of a market.

    An asset with sources is judged by its index, any other price by age and confidence; an asset
    with a time-weighted average also by its distance from it. A price that the snapshot itself
    refuses as too old (``stale_after_s``) is still refused by whoever needs it.

    Parameters
    ----------
    snapshot : Snapshot
        The market.
    policy : TrustPolicy, optional
        Instead of the market's own.

    Returns
    -------
    ProtectState or None
        None when neither the market nor the caller gives a policy: nobody judges.
    """
    trust = snapshot.trust
    rules = policy or (trust.policy if trust is not None else None)
    if rules is None:
        return None
    panels = trust.panels if trust is not None else {}
    verdicts = [
        _asset_verdict(name, quote, panels.get(name), snapshot, rules)
        for name, quote in sorted(snapshot.assets.items())
    ]
    basis = trust.basis if trust is not None else {}
    for name, one in sorted(snapshot.quotes.items()):
        limit = rules.mark_stale_after_s
        reason = _plain(one.time_ns, one.confidence, limit, snapshot, rules)
        if reason:
            verdicts.append(
                Verdict(subject="instrument", name=name, state="untrusted", reason=reason)
            )
        elif name in basis:
            old = age_s(basis[name][-1].time_ns, snapshot.as_of_ns)
            if old > limit:
                reason = f"its basis is {old:,.0f} s old, {limit:,.0f} s are allowed"
                verdicts.append(
                    Verdict(subject="instrument", name=name, state="degraded", reason=reason)
                )
    for (name, expiry), forward in sorted(snapshot.forwards.items()):
        reason = _plain(
            forward.time_ns, CONFIDENCE_ONE, rules.forward_stale_after_s, snapshot, rules
        )
        if reason:
            verdicts.append(
                Verdict(
                    subject="forward",
                    name=name,
                    state="untrusted",
                    reason=reason,
                    expiry_ns=expiry,
                )
            )
    return ProtectState(policy=rules, verdicts=tuple(verdicts))


def _plain(
    time_ns: int, confidence: int, limit_s: float, snapshot: Snapshot, policy: TrustPolicy
) -> str:
    """Say what is wrong with a price that has no sources of its own; nothing when nothing is."""
    old = age_s(time_ns or snapshot.as_of_ns, snapshot.as_of_ns)
    if old > limit_s:
        return f"it is {old:,.0f} s old, {limit_s:,.0f} s are allowed"
    if confidence < round(policy.min_confidence * CONFIDENCE_ONE):
        return (
            f"its confidence is {confidence / CONFIDENCE_ONE:g}, "
            f"{policy.min_confidence:g} is needed"
        )
    return ""


def _asset_verdict(
    name: str,
    quote: AssetPrice,
    panel: SourcePanel | None,
    snapshot: Snapshot,
    policy: TrustPolicy,
) -> Verdict:
    if panel is not None and panel.prints:
        found = panel_index(name, panel, snapshot.as_of_ns, policy)
        state, reason = found.state, found.reason
    else:
        reason = _plain(quote.time_ns, quote.confidence, policy.stale_after_s, snapshot, policy)
        state = "untrusted" if reason else "trusted"
    average = None if panel is None else panel.twap_usd
    if average is not None and diverges_from_twap(quote.price_usd, average, policy.twap_divergence):
        far = (
            f"it stands {(quote.price_usd / average - 1.0) * 100:+.1f} % from its average over "
            f"{policy.twap_window_s:,.0f} s, {policy.twap_divergence * 100:g} % is the limit"
        )
        state, reason = "untrusted", "; ".join(x for x in (reason, far) if x)
    return Verdict(subject="asset", name=name, state=state, reason=reason)
