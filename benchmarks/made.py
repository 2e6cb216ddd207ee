"""Books and markets of the library's own generator, for the benchmarks of whole requirements."""

from __future__ import annotations

from functools import cache

from crossmargin.book import CompactBook, generate_book
from crossmargin.instruments import Registry
from crossmargin.market import Snapshot, generated_market

INSTRUMENTS = 1_500


@cache
def market(
    venue_kind: str = "mixed", underlyings: tuple[str, ...] | None = None
) -> tuple[Registry, Snapshot]:
    """Return a made-up market of about 1,500 instruments."""
    return generated_market(
        seed=1,
        venue_kind=venue_kind,  # type: ignore[arg-type]
        underlyings=underlyings,
        instruments=INSTRUMENTS,
    )


def deribit(accounts: int) -> tuple[CompactBook, Snapshot]:
    """Return a book over linear and inverse contracts on BTC and ETH, and its market."""
    registry, snapshot = market("mixed", ("BTC", "ETH"))
    return generate_book(accounts, seed=7, registry=registry, snapshot=snapshot), snapshot


def derive(accounts: int) -> tuple[CompactBook, Snapshot]:
    """Return a book over linear contracts on all underlyings, and its market."""
    registry, snapshot = market("linear")
    return generate_book(accounts, seed=7, registry=registry, snapshot=snapshot), snapshot


RULES = {"deribit-pm": deribit, "derive-pm2": derive}
