"""Books in moving markets, and what a full recompute says of them: for tests of the live book."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from crossmargin.book import CompactBook, generate_book
from crossmargin.instruments import Registry
from crossmargin.margin import load_ruleset
from crossmargin.margin.batch import evaluate_book
from crossmargin.margin.live import LiveBook
from crossmargin.market import InstrumentQuote, Snapshot, generated_market
from crossmargin.market.moved import MovedMarket

#: Rule-sets that are computed in one pass, and the contracts they trade.
FUSED = {"deribit-pm": "mixed", "deribit-pm-cross": "mixed", "derive-pm2": "linear"}


def made(
    name: str, accounts: int, *, seed: int = 3, instruments: int = 60
) -> tuple[CompactBook, Snapshot]:
    """Return a book and the market it was made for."""
    registry, snapshot = generated_market(
        seed=1, venue_kind=FUSED[name], underlyings=["BTC", "ETH"], instruments=instruments
    )
    return generate_book(accounts, seed=seed, registry=registry, snapshot=snapshot), snapshot


def at_market(
    snapshot: Snapshot, registry: Registry, prices: dict[str, float], vols: dict[str, float]
) -> Snapshot:
    """Return the market at other prices, with volatilities by strike as they were, times a factor.

    Written apart from the live book's own market, and slowly: every option gets a quote.
    """
    view = snapshot.view(registry, [])
    out = MovedMarket(snapshot, registry).at(prices)
    quotes = dict(out.quotes)
    for index, item in enumerate(registry):
        if item.kind == "option" and item.expiry_ns > snapshot.moment_ns:
            if np.isnan(view.vol[index]):
                continue
            quote = quotes.get(item.id) or InstrumentQuote(time_ns=snapshot.as_of_ns)
            vol = float(view.vol[index]) * vols.get(item.underlying, 1.0)
            quotes[item.id] = replace(quote, vol=vol)
    return replace(out, quotes=quotes)


def gross(book: CompactBook, snapshot: Snapshot) -> np.ndarray:
    """US dollars in the hands of each regular account, both sides added: what errors are of."""
    terms, names = book.registry.terms, book.registry.assets
    usd = np.array([snapshot.assets[n].price_usd if n in snapshot.assets else 1.0 for n in names])
    held = book.position_instrument
    coins = np.abs(book.position_quantity) * terms.contract_size[held]
    dollars = terms.inverse[held] & (terms.kind[held] != 3)
    value = np.where(dollars, coins, coins * usd[terms.underlying[held]])
    owner = np.repeat(np.arange(book.regular), np.diff(book.position_start))
    out = np.bincount(owner, weights=value, minlength=book.regular)
    owner = np.repeat(np.arange(book.regular), np.diff(book.balance_start))
    owned = np.abs(book.balance_amount) * usd[book.balance_asset]
    return out + np.bincount(owner, weights=owned, minlength=book.regular) + 1.0


def assert_as_whole(
    live: LiveBook,
    snapshot: Snapshot,
    rules: str,
    *,
    within: float,
    book: CompactBook | None = None,
) -> None:
    """See that every account stands where computing its book afresh puts it."""
    compact = live.book() if book is None else book
    ruleset = load_ruleset(rules)
    scale = gross(compact, snapshot)
    parts = [(0, compact.accounts(0, compact.regular))]
    if compact.rest is not None:
        parts.append((compact.regular, compact.rest))
        scale = np.concatenate([scale, np.full(compact.rest.size, 1e6)])
    for first, part in parts:
        whole = evaluate_book(part, snapshot, ruleset)
        mine = slice(first, first + part.size)
        scaled = scale[mine]
        for name in ("equity", "equity_im", "im", "mm"):
            ours, theirs = getattr(live, name)[mine], getattr(whole, name)
            assert (np.isnan(ours) == np.isnan(theirs)).all(), name
            error = np.abs(ours - theirs) / np.maximum(scaled, np.abs(theirs))
            assert np.nanmax(error, initial=0.0) <= within, (name, int(np.nanargmax(error)))
        failed = np.isnan(whole.im)
        assert (live.failed[mine] == failed).all()
        # An account within rounding of its line may be on either side.
        with np.errstate(invalid="ignore"):
            near = np.abs(whole.equity - whole.mm) <= 1e-6 * scaled
            near |= np.abs(whole.health - 1.0) <= 1e-9
        assert (live.below[mine] == (whole.health < 1.0))[~failed & ~near].all()
