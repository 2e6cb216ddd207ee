"""The source panel: every price of a market with its sources, its marks, and what follows."""

from __future__ import annotations

from dataclasses import dataclass

from crossmargin.errors import MarketDataError
from crossmargin.instruments import parse_instrument
from crossmargin.market.attack import AttackCost, attack_cost, check_move
from crossmargin.market.index import IndexPrice, TrustState, age_s
from crossmargin.market.policy import TrustPolicy, default_policy
from crossmargin.market.snapshot import CONFIDENCE_ONE, Snapshot
from crossmargin.market.trust import (
    Actions,
    Verdict,
    allowed_actions,
    assess,
    panel_index,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetRow:
    """One asset: its price, the verdict, and its index where it has sources.

    Attributes
    ----------
    asset : str
        Name.
    price_usd, age_s : float
        As the market uses it.
    confidence : float
        0 to 1.
    state, reason : str
        The verdict.
    twap_usd : float or None
        Its time-weighted average, where the market states one.
    index : IndexPrice or None
        None where the asset has a price of its own.
    attack : AttackCost or None
        None without sources, or while the index is not trusted.
    """

    asset: str
    price_usd: float
    age_s: float
    confidence: float
    state: TrustState
    reason: str
    twap_usd: float | None
    index: IndexPrice | None
    attack: AttackCost | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkRow:
    """One mark beside its index.

    Attributes
    ----------
    instrument : str
        Id.
    mark, index : float
        In the instrument's quote currency.
    basis : float
        ``mark / index − 1``.
    smoothed : bool
        Whether the mark was formed from the index and a smoothed basis.
    """

    instrument: str
    mark: float
    index: float
    basis: float
    smoothed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PricePanel:
    """A market's prices, judged.

    Attributes
    ----------
    as_of_ns : int
        The market's time.
    own_policy : bool
        Whether the market states how its prices are judged; otherwise the house's policy is
        used for this panel, and margin does not look at it.
    policy : TrustPolicy
        Figures used.
    assets, marks : list
        Rows, sorted by name.
    verdicts : tuple of Verdict
        All of them.
    protect : bool
        Whether anything is not trusted.
    actions : Actions
        What is allowed to whoever touches every price of the market.
    sentences : list of str
        The same aloud.
    """

    as_of_ns: int
    own_policy: bool
    policy: TrustPolicy
    assets: list[AssetRow]
    marks: list[MarkRow]
    verdicts: tuple[Verdict, ...]
    protect: bool
    actions: Actions
    sentences: list[str]


def price_panel(snapshot: Snapshot, *, move: float = 0.05) -> PricePanel:
    """Lay out a market's prices with their sources, ages and deviations.

    Parameters
    ----------
    snapshot : Snapshot
        The market.
    move : float
        Move of an index whose cost is estimated, relative.

    Raises
    ------
    MarketDataError
        ``MKT-014`` for an impossible move.
    """
    check_move(move)
    policy = default_policy() if snapshot.trust is None else snapshot.trust.policy
    state = assess(snapshot, policy)
    assert state is not None  # a policy was given
    told = {v.name: v for v in state.verdicts if v.subject == "asset"}
    return PricePanel(
        as_of_ns=snapshot.as_of_ns,
        own_policy=snapshot.trust is not None,
        policy=policy,
        assets=[_asset_row(snapshot, name, told[name], policy, move) for name in sorted(told)],
        marks=_marks(snapshot),
        verdicts=state.verdicts,
        protect=state.active,
        actions=allowed_actions(state),
        sentences=state.sentences(),
    )


def _asset_row(
    snapshot: Snapshot, name: str, verdict: Verdict, policy: TrustPolicy, move: float
) -> AssetRow:
    quote = snapshot.assets[name]
    panel = None if snapshot.trust is None else snapshot.trust.panels.get(name)
    found = attack = None
    if panel is not None and panel.prints:
        found = panel_index(name, panel, snapshot.as_of_ns, policy)
        if found.state != "untrusted":
            attack = attack_cost(panel.prints, snapshot.as_of_ns, policy, move=move)
    return AssetRow(
        asset=name,
        price_usd=quote.price_usd,
        age_s=age_s(quote.time_ns or snapshot.as_of_ns, snapshot.as_of_ns),
        confidence=quote.confidence / CONFIDENCE_ONE,
        state=verdict.state,
        reason=verdict.reason,
        twap_usd=None if panel is None else panel.twap_usd,
        index=found,
        attack=attack,
    )


def _marks(snapshot: Snapshot) -> list[MarkRow]:
    """Return marks of perpetuals and futures whose index the market can give."""
    rows = []
    smoothed = {} if snapshot.trust is None else snapshot.trust.basis
    for name, quote in sorted(snapshot.quotes.items()):
        item = parse_instrument(name)
        if quote.price_mark is None or item.kind not in ("perpetual", "future"):
            continue
        try:
            index = snapshot.asset_usd(item.underlying) / snapshot.asset_usd(item.quote)
        except MarketDataError:
            # Whoever needs that price gets the reason; a panel shows what there is.
            continue
        rows.append(
            MarkRow(
                instrument=name,
                mark=quote.price_mark,
                index=index,
                basis=quote.price_mark / index - 1.0,
                smoothed=name in smoothed,
            )
        )
    return rows
