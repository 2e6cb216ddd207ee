"""What a made-up book looks like: the figures of its generator."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from statistics import NormalDist

from crossmargin.errors import InputError

#: Kinds of account that a made-up book mixes, in the order of their codes.
ACCOUNT_KINDS: tuple[str, ...] = ("directional", "hedged", "overlay", "maker", "coin")


@dataclass(frozen=True, slots=True, kw_only=True)
class BookShape:
    """What a made-up book looks like. All figures are the house's; none is measured.

    =========== ==================================================================================
    kind        what it holds
    =========== ==================================================================================
    directional perpetuals, some futures and bought options, mostly on one side
    hedged      basis trades: a coin or one contract against another of the same underlying, equal
                deltas
    overlay     covered calls (coin or contract against a sold call) and vertical spreads
    maker       many options on both sides, the delta of each underlying hedged with its most
                traded contract
    coin        longs that are collateralised with coins instead of dollars
    =========== ==================================================================================

    A kind that the registry has no instruments for (overlay without options) holds what a
    directional account holds.

    Attributes
    ----------
    directional, hedged, overlay, maker, coin : float
        Weights of the kinds.
    positions : float
        About how many positions an account has on average.
    underlying_zipf, instrument_zipf : float
        Exponents of popularity: the k-th most traded has weight ``k ** -exponent``. Underlyings
        rank in the order of the registry; contracts of an underlying by kind (perpetual, future),
        options by nearness to the money and expiry.
    home : float
        Share of an account's trades in the underlying it likes best.
    size_pareto : float
        Tail index of an account's gross notional.
    size_min_usd, size_max_usd : float
        Its range, US dollars.
    under : float
        Share of accounts whose equity is below the loss in the house's stress (both directions of
        `stress_move`, volatility up by `stress_vol`, plus `stress_gross` of the notional). What a
        rule-set says of them differs: it has another stress.
    leverage_spread : float
        Standard deviation of the logarithm of equity over that loss: leverage is lognormal.
    stress_move, stress_vol, stress_gross : float
        See `under`; fractions.
    entry_spread, entry_spread_option : float
        Standard deviation of ln(entry / mark).
    settled : float
        Share of positions without entry price: settled at the mark.
    """

    directional: float = 0.50
    hedged: float = 0.18
    overlay: float = 0.15
    maker: float = 0.05
    coin: float = 0.12
    positions: float = 10.0
    underlying_zipf: float = 1.1
    instrument_zipf: float = 1.0
    home: float = 0.4
    size_pareto: float = 1.16
    size_min_usd: float = 500.0
    size_max_usd: float = 5_000_000.0
    under: float = 0.02
    leverage_spread: float = 0.5
    stress_move: float = 0.15
    stress_vol: float = 0.3
    stress_gross: float = 0.005
    entry_spread: float = 0.03
    entry_spread_option: float = 0.2
    settled: float = 0.05

    def __post_init__(self) -> None:
        """Refuse figures that no book can have."""
        wrong = None
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value >= 0):
                wrong = field.name
        for name in ("positions", "size_pareto", "size_min_usd", "leverage_spread"):
            wrong = name if getattr(self, name) <= 0 else wrong
        if not 0 < self.under < 1:
            wrong = "under"
        for name in ("home", "settled", "stress_move"):
            wrong = name if getattr(self, name) > 1 else wrong
        if self.size_max_usd < self.size_min_usd:
            wrong = "size_max_usd"
        if wrong is None and sum(self.weights) <= 0:
            wrong = "directional"
        if wrong is not None:
            raise InputError(
                f"a made-up book with {wrong} = {getattr(self, wrong)!r}",
                code="INP-044",
                field=wrong,
                hint="see BookShape for what each figure may be",
            )

    @property
    def weights(self) -> tuple[float, ...]:
        """Weights of the kinds, in the order of ``ACCOUNT_KINDS``."""
        return tuple(getattr(self, kind) for kind in ACCOUNT_KINDS)

    @property
    def log_cushion(self) -> float:
        """Mean of ln(equity / stress loss), from the share that is to be below 1."""
        return -self.leverage_spread * NormalDist().inv_cdf(self.under)
