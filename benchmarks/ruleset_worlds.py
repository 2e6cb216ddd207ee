"""A market and a made-up book for each rule-set of the catalogue.

A rule-set covers what its venue trades, and leaves out what the venue does not publish. Here each
gets a market of contracts that it covers, and made-up figures in place of what it lacks, so that
everything in it is computed. None of these figures says anything about a venue.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

import numpy as np

from crossmargin.book import CompactBook, NumberedIds, generate_book
from crossmargin.instruments import Registry
from crossmargin.margin.ruleset import Ruleset, load_ruleset
from crossmargin.market import Liquidity, Snapshot, factor_history, generated_market
from crossmargin.market.generated import VenueKind
from crossmargin.units import format_time

ALL = ("perpetual", "future", "option")
FUTURES = ("perpetual", "future")
PERPETUALS = ("perpetual",)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a rule-set is run on.

    Attributes
    ----------
    venue : {"mixed", "inverse", "linear"}
        What contracts settle in.
    kinds, underlyings, coins : tuple of str
        Listed contracts, and coins among the balances.
    dollar : {"USDC", "USDT"}
        Settlement of linear contracts.
    supplied : dict
        Made-up figures in place of what the venue does not publish.
    looks_back : bool
        Whether the market has a made-up price history and liquidity.
    """

    venue: VenueKind = "linear"
    kinds: tuple[str, ...] = ALL
    underlyings: tuple[str, ...] = ("BTC", "ETH")
    coins: tuple[str, ...] = ("BTC", "ETH")
    dollar: str = "USDC"
    supplied: dict[str, Any] = field(default_factory=dict)
    looks_back: bool = False


_TIERS = [{"floor": 0.0, "im": 0.02, "mm": 0.01}, {"floor": 250_000.0, "im": 0.05, "mm": 0.03}]
_WEIGHTS = {"asset_im": 0.8, "asset_mm": 0.9, "liability_im": 1.25, "liability_mm": 1.1}
_VOLS = {
    f"scenarios.underlyings.{coin}.{name}": size
    for coin in ("BTC", "ETH")
    for name, size in (("vol_up", 0.4), ("vol_down", 0.3))
}
_COINS = {"collateral.assets.default.haircut": 0.05, "collateral.assets.BTC": {"haircut": 0.02}}
_LOAN = {"im": 1 / 9, "mm": 0.05}


def _loans(name: str) -> dict[str, Any]:
    return {f"components.{name}.{level}": rate for level, rate in _LOAN.items()}


def _haircuts(**assets: float) -> dict[str, Any]:
    return {f"collateral.assets.{name}.haircut": cut for name, cut in assets.items()}


_SLOPES = {"components.futures.slopes.default": {"im": 0.02, "mm": 0.01, "per_coin": 1e-4}}
_GROWTH = {"components.delta_shock.growth": "linear"}
_DEPEG = [
    {"from_price": 0.0, "sizes": [{"floor": 0.0, "rate": 0.01}, {"floor": 1e5, "rate": 0.02}]}
]

WORLDS: dict[str, World] = {
    "aave-v3": World(kinds=(), coins=("WETH", "WBTC")),
    "binance-coinm": World(venue="inverse", kinds=FUTURES),
    "binance-pm": World(
        kinds=FUTURES,
        dollar="USDT",
        coins=("BTC",),
        supplied={
            **_haircuts(USDT=0.0, ETH=0.05),
            **_loans("margin_loans"),
            "components.futures_usdm.tiers.default": _TIERS,
        },
    ),
    "binance-usdm": World(
        kinds=FUTURES,
        dollar="USDT",
        coins=(),
        supplied={"components.futures.tiers.default": _TIERS},
    ),
    "binance-usdm-multi": World(
        kinds=FUTURES,
        dollar="USDT",
        supplied={**_haircuts(USDT=0.0, ETH=0.05, BTC=0.05)}
        | {"components.futures.tiers.default": _TIERS},
    ),
    "bybit-pm": World(
        venue="mixed",
        dollar="USDT",
        supplied={
            **_VOLS,
            **_COINS,
            "components.net_short_options.underlyings.default.index": 0.01,
            "components.futures_contingency.underlyings.default": {"index": 0.003, "usd": 0.5},
            "components.stablecoin_spread.levels": _DEPEG,
            "components.im_factor.value": 1.25,
        },
    ),
    "bybit-uta": World(
        kinds=FUTURES,
        dollar="USDT",
        coins=("BTC",),
        supplied={**_loans("spot_borrow"), "components.futures.tiers.default": _TIERS},
    ),
    "deribit-pm": World(venue="mixed", supplied=_GROWTH),
    "deribit-pm-cross": World(venue="mixed", supplied=_GROWTH),
    "deribit-sm": World(venue="mixed", supplied=_SLOPES),
    "deribit-sm-cross": World(venue="mixed", supplied=_SLOPES),
    "derive-pm1": World(),
    "derive-pm2": World(),
    "derive-srm": World(),
    "drift-v2": World(
        kinds=PERPETUALS,
        underlyings=("BTC", "ETH", "SOL"),
        coins=("SOL",),
        supplied={
            "components.perpetuals.markets.default": {
                "im": 0.1,
                "mm": 0.05,
                "per_root_coin": 0.0015,
            },
            "collateral.profit.default": {"im": 0.9, "mm": 1.0, "cap_im_usd": 1e4},
            **{f"collateral.assets.SOL.liability_{k}": v for k, v in (("im", 1.2), ("mm", 1.1))},
            "components.borrows.assets": ["USDC", "SOL"],
        },
    ),
    "dydx-v4": World(
        kinds=PERPETUALS,
        coins=(),
        supplied={
            f"components.perpetuals.open_interest_coins.{coin}": size
            for coin, size in (("BTC", 3e3), ("ETH", 3e4))
        },
    ),
    "house": World(
        venue="mixed",
        looks_back=True,
        supplied={
            "components.liquidity.aggregate": "account",
            "components.concentration.aggregate": "account",
        },
    ),
    "hyperliquid": World(
        kinds=PERPETUALS, underlyings=("BTC", "ETH", "SOL", "XRP", "DOGE"), coins=()
    ),
    "hyperliquid-isolated": World(
        kinds=PERPETUALS, underlyings=("BTC", "ETH", "SOL", "XRP", "DOGE"), coins=()
    ),
    "hyperliquid-pm": World(
        kinds=PERPETUALS, underlyings=("BTC", "ETH", "SOL", "XRP"), coins=("BTC",)
    ),
    "isolated": World(venue="mixed"),
    "isolated-whole": World(venue="mixed"),
    "mango-v4": World(
        kinds=PERPETUALS,
        coins=(),
        supplied={
            "components.perpetuals.markets.default": _WEIGHTS,
            **_haircuts(USDC=0.0),
        },
    ),
    "occ-tims": World(
        venue="mixed",
        supplied={
            "components.product_credit.products": [{"members": ["BTC", "ETH"], "offset": 0.5}]
        },
    ),
    "okx-multi": World(
        venue="inverse",
        supplied={
            **_haircuts(ETH=0.0, USDC=0.0),
            "components.futures.tiers.default": _TIERS,
        },
    ),
    "okx-pm": World(
        venue="mixed",
        dollar="USDT",
        supplied={
            **_VOLS,
            **_COINS,
            **{f"components.{name}.left_out": True for name in ("mr2", "mr3", "mr5")},
        },
    ),
    "paradex-pm": World(kinds=("perpetual", "option"), coins=()),
    "span": World(
        venue="mixed",
        supplied={"components.delivery.underlyings.BTC": {"days": 20.0, "index": 0.01, "usd": 3.0}},
    ),
}

#: Instruments of the markets, about.
INSTRUMENTS = 1_000


def rules(name: str, **more: Any) -> Ruleset:
    """Return a shipped rule-set with everything it lacks supplied."""
    return load_ruleset(name, overrides={**WORLDS[name].supplied, **more})


@lru_cache(maxsize=8)
def _market(
    venue: VenueKind,
    kinds: tuple[str, ...],
    underlyings: tuple[str, ...],
    dollar: str,
    seed: int,
    instruments: int,
) -> tuple[Registry, Snapshot]:
    return generated_market(
        seed=seed,
        venue_kind=venue,
        underlyings=list(underlyings),
        instruments=instruments,
        kinds=kinds,  # type: ignore[arg-type]
        dollar=dollar,
    )


def world(
    name: str, accounts: int, *, seed: int = 1, instruments: int = INSTRUMENTS
) -> tuple[CompactBook, Snapshot]:
    """Return a made-up book and its market for a rule-set."""
    made = WORLDS[name]
    if not made.kinds:
        return _lenders(accounts, made.coins, seed)
    registry, snapshot = _market(
        made.venue, made.kinds, made.underlyings, made.dollar, seed, instruments
    )
    if made.looks_back:
        snapshot = with_past(snapshot)
    coins = [coin for coin in made.coins if coin in registry.assets]
    return generate_book(
        accounts, seed=seed, registry=registry, snapshot=snapshot, coins=coins
    ), snapshot


def with_past(snapshot: Snapshot, *, days: int = 1_100, seed: int = 3) -> Snapshot:
    """Return a market with made-up daily closes of its coins and made-up liquidity.

    Correlated t returns whose volatility comes and goes; the last close is the market's price.
    """
    coins = [n for n in sorted(snapshot.assets) if n not in ("USD", "USDC", "USDT")]
    rng = np.random.default_rng(seed)
    common, own = rng.standard_t(4, days - 1), rng.standard_t(4, (days - 1, len(coins)))
    level = 0.02 * np.exp(0.5 * np.sin(np.arange(days - 1) / 60.0))
    x = level[:, None] * (0.8 * common[:, None] + 0.6 * own)
    past = np.exp(np.concatenate([np.zeros((1, len(coins))), np.cumsum(x, axis=0)]))
    price = np.array([snapshot.assets[n].price_usd for n in coins])
    closes = past / past[-1] * price
    last = date.fromisoformat(format_time(snapshot.as_of_ns)[:10]) - timedelta(days=1)
    stamps = [(last - timedelta(days=days - 1 - k)).isoformat() for k in range(days)]
    liquidity = {
        n: Liquidity(adv_coins=1e9 / p, sigma_daily=0.03, half_spread=2e-4)
        for n, p in zip(coins, price.tolist())
    }
    history = factor_history(stamps, {n: closes[:, k] for k, n in enumerate(coins)}, source="made")
    return replace(snapshot, history=history, liquidity={**liquidity, **snapshot.liquidity})


def _lenders(accounts: int, coins: tuple[str, ...], seed: int) -> tuple[CompactBook, Snapshot]:
    """Return accounts that own coins and owe dollars, for rule-sets without contracts."""
    _, market = generated_market(seed=seed, instruments=20)
    price = {"WETH": market.assets["ETH"], "WBTC": market.assets["BTC"], **market.assets}
    registry = Registry()
    owned = [registry.asset(name) for name in (*coins, "USDC")]
    rng = np.random.default_rng(seed)
    value = rng.lognormal(9.0, 1.5, (accounts, len(owned)))
    value[:, -1] *= -0.5
    held = rng.random(value.shape) < 0.8
    held[:, 0] = True
    account, place = np.nonzero(held)
    usd = np.array([price[name].price_usd for name in (*coins, "USDC")])
    starts = np.zeros(accounts + 1, dtype=np.int64)
    np.cumsum(held.sum(axis=1), out=starts[1:])
    book = CompactBook(
        registry=registry,
        ids=NumberedIds(accounts),
        position_start=np.zeros(accounts + 1, dtype=np.int64),
        position_instrument=np.empty(0, dtype=np.uint16),
        position_quantity=np.empty(0),
        position_entry=np.empty(0),
        balance_start=starts,
        balance_asset=np.array(owned, dtype=np.uint16)[place],
        balance_amount=value[account, place] / usd[place],
    )
    return book, Snapshot(as_of_ns=market.as_of_ns, assets=price)
