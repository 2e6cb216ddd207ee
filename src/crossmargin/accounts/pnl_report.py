"""Where an account's equity came from between two markets, read off its ledger.

Every transfer has a cause; the price's part is split by Greek at each market that is given (see
:mod:`crossmargin.accounts.greeks_pnl`). The ledger is replayed; marks are those that it holds.

Source: as :mod:`crossmargin.accounts.pnl` and :mod:`crossmargin.accounts.greeks_pnl`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import msgspec

from crossmargin.accounts.events import Event
from crossmargin.accounts.greeks_pnl import GREEK_CAUSES, GreekAttribution
from crossmargin.accounts.ledger import Transfer
from crossmargin.accounts.pnl import CAUSES, Attribution, begin
from crossmargin.accounts.replay import Applied, Refused, apply
from crossmargin.accounts.state import State
from crossmargin.errors import LedgerError
from crossmargin.market import Snapshot

if TYPE_CHECKING:
    from crossmargin.accounts.store import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetPnl:
    """Change of one pot's equity in one asset, units of the asset.

    Attributes
    ----------
    asset : str
    causes : dict of str to float
        By :data:`crossmargin.accounts.CAUSES`; they sum to `total`.
    greeks : dict of str to float
        The cause ``price`` by Greek; they sum to it.
    total : float
    usd : float or None
        Price of the asset in the last market.
    """

    asset: str
    causes: dict[str, float]
    greeks: dict[str, float]
    total: float
    usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerPnl:
    """Outcome of :func:`ledger_pnl`.

    Attributes
    ----------
    account, pot : str
    start_ns, end_ns : int
        Moments of the first and the last market.
    steps : int
        Between markets.
    entries : int
        Of the ledger between the two.
    assets : tuple of AssetPnl
    causes : tuple of str
    """

    account: str
    pot: str
    start_ns: int
    end_ns: int
    steps: int
    entries: int
    assets: tuple[AssetPnl, ...]
    causes: tuple[str, ...] = CAUSES


def ledger_pnl(
    records: Iterable[Record], account: str, markets: Sequence[Snapshot], *, pot: str = "cross"
) -> LedgerPnl:
    """Replay a ledger and say what changed an account's equity between markets.

    Parameters
    ----------
    records : iterable of Record
        The whole log, in order.
    account, pot : str
        Whose.
    markets : sequence of Snapshot
        Two or more, rising in time. What the ledger holds up to a market's moment stands beside
        it; every contract held then must have been marked.

    Raises
    ------
    LedgerError
        ``LED-002`` for an account that is not there at the first moment, ``LED-010`` for an open
        position without a mark, ``LED-018`` for markets that do not rise.
    """
    times = [one.moment_ns for one in markets]
    if len(times) < 2 or any(b <= a for a, b in itertools.pairwise(times)):
        raise LedgerError(
            "profit is between markets that rise in time, two at least", code="LED-018",
            field="markets", hint="give the earlier market first",
        )  # fmt: skip
    state, decode = State(), msgspec.json.Decoder(Event).decode
    book = _Book(account, pot)
    due, entries = 0, 0
    for record in records:
        while due < len(times) and record.time_ns > times[due]:
            book.stand(state, markets[due], first=due == 0)
            due += 1
        if due == len(times):
            break
        event = decode(record.payload)
        outcome = apply(state, event)
        if isinstance(outcome, Refused):
            raise outcome.error
        if due and isinstance(outcome, Applied):
            entries += 1
            book.add(list(outcome.transfers), state)
    while due < len(times):
        book.stand(state, markets[due], first=due == 0)
        due += 1
    return LedgerPnl(
        account=account,
        pot=pot,
        start_ns=times[0],
        end_ns=times[-1],
        steps=len(times) - 1,
        entries=entries,
        assets=book.result(state, markets[-1]),
    )


class _Book:
    """Attributions of one pot by asset, begun as assets turn up."""

    def __init__(self, account: str, pot: str) -> None:
        self._account, self._pot = account, pot
        self._causes: dict[str, Attribution] = {}
        self._greeks: dict[str, GreekAttribution] = {}
        self._market: Snapshot | None = None

    def stand(self, state: State, market: Snapshot, *, first: bool) -> None:
        """Begin at a market, or end a step at it."""
        if first:
            state.trader(self._account)
            self._market = market
            pot = state.pot(self._account, self._pot)
            for asset in sorted(state.assets):
                self._causes[asset] = begin(state, pot, asset)
                self._greeks[asset] = GreekAttribution(state, pot, asset, market)
            return
        for one in self._greeks.values():
            one.step(state, market)

    def add(self, moved: Sequence[Transfer], state: State) -> None:
        """Take in an entry; an asset that is new had nothing before."""
        for asset in sorted({t.asset for t in moved} & set(state.assets)):
            if asset not in self._causes and self._market is not None:
                pot = state.pot(self._account, self._pot)
                empty = Attribution(pot.name, asset, Fraction(0))
                self._causes[asset] = empty
                self._greeks[asset] = GreekAttribution(state, pot, asset, self._market)
        for asset, one in self._causes.items():
            one.add(moved)
            self._greeks[asset].add(moved)

    def result(self, state: State, market: Snapshot) -> tuple[AssetPnl, ...]:
        """Return what moved, asset by asset."""
        found = []
        for asset, attribution in sorted(self._causes.items()):
            scale = 10 ** state.assets[asset].decimals
            causes = {c: float(x / scale) for c, x in attribution.causes(state).items()}
            greeks = {c: float(x / scale) for c, x in self._greeks[asset].causes.items()}
            if not (any(causes.values()) or any(greeks.values())):
                continue
            known = market.assets.get(asset)
            found.append(
                AssetPnl(
                    asset=asset,
                    causes={c: causes[c] for c in CAUSES},
                    greeks={c: greeks[c] for c in GREEK_CAUSES},
                    total=float(sum(attribution.causes(state).values(), Fraction(0)) / scale),
                    usd=None if known is None else known.price_usd,
                )
            )
        return tuple(found)
