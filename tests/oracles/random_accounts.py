"""Seeded random markets and accounts as plain dicts, for holding two implementations together."""

from __future__ import annotations

import math
import random
from datetime import datetime
from typing import Any

MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]

#: As-of times and three expiries each: 3 hours, around the 30-day reference, and half a year on.
CALENDARS = (
    ("2026-02-15T05:00:00Z", ((15, 2, 26), (13, 3, 26), (28, 8, 26))),
    ("2026-02-03T04:29:35.034Z", ((3, 2, 26), (6, 3, 26), (14, 8, 26))),
    ("2026-06-01T05:00:00Z", ((1, 6, 26), (1, 7, 26), (18, 12, 26))),
    ("2026-09-20T07:00:00Z", ((20, 9, 26), (28, 9, 26), (27, 3, 27))),
)


def tag(date: tuple[int, int, int]) -> str:
    return f"{date[0]}{MONTHS[date[1] - 1]}{date[2]:02d}"


def moment(date: tuple[int, int, int]) -> str:
    return f"20{date[2]:02d}-{date[1]:02d}-{date[0]:02d}T08:00:00Z"


def market(seed: int) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """A market file, and the names of instruments in it by kind."""
    rng = random.Random(seed)
    as_of, dates = CALENDARS[seed % len(CALENDARS)]
    index = {
        "BTC": rng.uniform(50_000, 110_000),
        "ETH": rng.uniform(1_500, 4_500),
        "SOL": rng.uniform(80, 250),
    }
    index["STETH"] = index["ETH"] * 0.9979
    usdc = 0.9987
    assets = [{"asset": name, "price_usd": price} for name, price in index.items()]
    assets += [{"asset": "USDC", "price_usd": usdc}, {"asset": "USDT", "price_usd": 1.0004}]
    forwards, surfaces, rows = [], [], []
    names: dict[str, list[str]] = {
        k: [] for k in ("perp", "sol", "steth", "future", "option", "spot", "usdt")
    }
    names["spot"] = ["BTC_USDC", "ETH_USDC"]
    now = datetime.fromisoformat(as_of).timestamp()

    def perp(name: str, price: float, kind: str) -> None:
        names[kind].append(name)
        rate = rng.choice([0.0, rng.uniform(-3e-4, 3e-4)])
        rows.append(
            {
                "instrument": name,
                "price_mark": price * rng.uniform(0.999, 1.001),
                "funding_rate_8h": rate,
            }
        )

    for coin in ("BTC", "ETH"):
        perp(f"{coin}-PERPETUAL", index[coin], "perp")
        perp(f"{coin}_USDC-PERPETUAL", index[coin] / usdc, "perp")
    perp("SOL_USDC-PERPETUAL", index["SOL"] / usdc, "sol")
    perp("STETH_USDC-PERPETUAL", index["STETH"] / usdc, "steth")
    for coin in ("BTC", "ETH"):
        for date in dates:
            years = (datetime.fromisoformat(moment(date)).timestamp() - now) / (365 * 86_400)
            forward = index[coin] * math.exp(rng.uniform(-0.05, 0.1) * years)
            forwards.append({"underlying": coin, "expiry": moment(date), "price_usd": forward})
            level = rng.uniform(0.3, 0.9) ** 2 * years
            surfaces.append(
                {
                    "underlying": coin,
                    "expiry": moment(date),
                    "forward_usd": forward * rng.uniform(0.995, 1.005),
                    "a": 0.7 * level,
                    "b": min(0.6, level * rng.uniform(0.3, 1.5)),
                    "rho": rng.uniform(-0.6, 0.3),
                    "m": rng.uniform(-0.1, 0.1),
                    "sigma": rng.uniform(0.1, 0.5),
                    "k_min": -1.0,
                    "k_max": 1.0,
                }
            )
            for stem in (coin, f"{coin}_USDC"):
                if date != dates[0]:
                    name = f"{stem}-{tag(date)}"
                    names["future"].append(name)
                    if rng.random() < 0.6:  # the others take the forward
                        per = 1.0 if stem == coin else usdc
                        price = forward / per * rng.uniform(0.9995, 1.0005)
                        rows.append({"instrument": name, "price_mark": price})
                step = 500 if coin == "BTC" else 25
                for _ in range(7):
                    wing = rng.random() < 0.25
                    ratio = rng.uniform(0.25, 3.5) if wing else rng.uniform(0.8, 1.25)
                    strike = max(step, round(index[coin] * ratio / step) * step)
                    name = f"{stem}-{tag(date)}-{strike}-{rng.choice('CP')}"
                    if name in names["option"]:
                        continue
                    names["option"].append(name)
                    if rng.random() < 0.6:  # else the surface gives it
                        rows.append({"instrument": name, "vol": rng.uniform(0.25, 1.6)})
    for coin in ("BTC", "ETH"):  # last, so that seeds give what they gave before
        perp(f"{coin}_USDT-PERPETUAL", index[coin] / 1.0004, "usdt")
    return {
        "format": "crossmargin-market/1",
        "as_of": as_of,
        "source": "seeded",
        "assets": assets,
        "forwards": forwards,
        "surfaces": surfaces,
        "instruments": rows,
    }, names


def marks(data: dict[str, Any]) -> dict[str, float]:
    prices = {row["asset"]: row["price_usd"] for row in data["assets"]}
    out = {
        row["instrument"]: row["price_mark"] for row in data["instruments"] if "price_mark" in row
    }
    return {**prices, **out}


def size(rng: random.Random, name: str, prices: dict[str, float], usd: float) -> float:
    """A signed quantity worth up to `usd`."""
    stem = name.split("-")[0]
    coin = stem.split("_")[0]
    value = usd * rng.uniform(0.001, 1.0) ** 2
    inverse_future = "_" not in stem and name.count("-") in (1,)
    quantity = value if inverse_future else value / prices[coin]
    return rng.choice([-1.0, 1.0]) * float(f"{quantity:.9g}")


def account(
    rng: random.Random,
    label: str,
    data: dict[str, Any],
    names: dict[str, list[str]],
    *,
    kinds: tuple[str, ...] = ("perp", "future", "option"),
    coins: tuple[str, ...] = ("USDC", "BTC", "ETH"),
    usd: float = 2_000_000.0,
    orders: str = "",
    debts: bool = True,
    wallets: bool = False,
) -> dict[str, Any]:
    """One account: pools, hedge legs, debts, fences.

    `wallets` gives every pool a balance. `orders` is empty, ``"single"`` (one leg each, and
    quotes) or ``"combos"`` (some of several legs, also across underlyings).
    """
    prices = marks(data)
    pools = ["cross"]
    if rng.random() < 0.35:
        pools.append("second")
    if rng.random() < 0.1:
        pools.append("third")
    balances = []
    for pool in pools:
        for asset in coins:
            if rng.random() < 0.6:
                amount = usd * rng.uniform(0.001, 0.4) / prices[asset]
                if debts and rng.random() < 0.2:
                    amount = -amount
                row: dict[str, Any] = {"asset": asset, "amount": amount, "pool": pool}
                if rng.random() < 0.3:
                    row["amount"] = f"{amount:.8f}"
                balances.append(row)
                if rng.random() < 0.1:
                    balances.append({**row, "location": "elsewhere"})
        if wallets and not any(row["pool"] == pool for row in balances):
            balances.append({"asset": coins[0], "amount": 1_000.0, "pool": pool})
    universe = [name for kind in kinds for name in rng.sample(names[kind], len(names[kind]))]
    weights = [kind for kind in kinds for _ in names[kind]]
    positions: list[dict[str, Any]] = []
    for pool in pools:
        wanted = rng.choice([0, 1, 1, 2, 3, 4, 6, 9])
        picks: set[str] = set()
        for _ in range(wanted):
            kind = rng.choice(kinds)
            at = [i for i, k in enumerate(weights) if k == kind]
            picks.add(universe[rng.choice(at)])
        for name in sorted(picks):
            is_option = name.count("-") > 1
            hedge = not orders and rng.random() < 0.15
            legs = ("long", "short") if hedge else ("net",)
            for leg in legs:
                q = size(rng, name, prices, usd)
                q = {"net": q, "long": abs(q), "short": -abs(q)}[leg]
                row = {"instrument": name, "quantity": q, "leg": leg, "pool": pool}
                coin = name.split("-")[0].split("_")[0]
                if name.count("-") == 0 or is_option:
                    if rng.random() < 0.5:
                        row["entry_price"] = 0.01 if "_" not in name else 0.01 * prices[coin]
                else:
                    near = prices.get(name, prices[coin])
                    row["entry_price"] = rng.choice(["mark", near * rng.uniform(0.8, 1.2)])
                    if rng.random() < 0.4:
                        row["leverage"] = rng.choice([1.0, 3.0, 10.0, 33.0, 50.0])
                    if rng.random() < 0.3:
                        share = abs(q) * rng.uniform(0.01, 0.2)
                        row["fenced_margin"] = (
                            share * near if "_" in name.split("-")[0] else share / near
                        )
                positions.append(row)
    out: dict[str, Any] = {
        "format": "crossmargin-account/1",
        "account": label,
        "balances": balances,
        "positions": positions,
        "pools": [{"id": p, "mode": rng.choice(["cross", "sub_account"])} for p in pools],
    }
    if orders:
        _add_orders(rng, out, names, kinds, prices, usd, pools, orders == "combos")
    if not (balances or positions or out.get("orders") or out.get("quote_groups")):
        out["balances"] = [{"asset": coins[0], "amount": 1_000.0}]
    return out


def _price(rng: random.Random, name: str, prices: dict[str, float]) -> float | None:
    if rng.random() < 0.3:
        return None
    stem = name.split("-")[0]
    coin = stem.split("_")[0]
    if name.count("-") > 1:
        value = rng.uniform(0.001, 0.2)
        return value if "_" not in stem else value * prices[coin]
    return prices.get(name, prices[coin]) * rng.uniform(0.93, 1.07)


def _add_orders(
    rng: random.Random,
    out: dict[str, Any],
    names: dict[str, list[str]],
    kinds: tuple[str, ...],
    prices: dict[str, float],
    usd: float,
    pools: list[str],
    combos: bool,
) -> None:
    universe = [name for kind in kinds for name in names[kind]]
    held = [p["instrument"] for p in out["positions"]]

    def leg(name: str) -> dict[str, Any]:
        row: dict[str, Any] = {"instrument": name, "quantity": size(rng, name, prices, usd)}
        price = _price(rng, name, prices)
        if price is not None:
            row["price"] = price
        return row

    single = []
    for number in range(rng.choice([1, 2, 3, 4])):
        first = rng.choice(held) if held and rng.random() < 0.5 else rng.choice(universe)
        legs = [leg(first)]
        if combos and rng.random() < 0.7:
            stem = first.split("-")[0]
            coin = stem.split("_")[0]
            same = [n for n in universe if n.split("-")[0] == stem and n != first]
            if rng.random() < 0.3:  # across underlyings, of one settlement asset each
                other = [n for n in universe if not n.startswith(coin)]
                stem = rng.choice(other).split("-")[0]
                same = [n for n in other if n.split("-")[0] == stem]
            legs += [leg(n) for n in rng.sample(same, min(len(same), rng.choice([1, 2])))]
        single.append({"id": f"o{number}", "legs": legs, "pool": rng.choice(pools)})
    out["orders"] = single
    if rng.random() < 0.6:
        name = rng.choice(universe)
        stem = name.split("-")[0]
        same = [n for n in universe if n.split("-")[0] == stem and n != name]
        quotes = []
        for each in [name, *rng.sample(same, min(1, len(same)))]:
            quote: dict[str, Any] = {"instrument": each}
            for word in rng.choice([("bid", "ask"), ("bid",), ("ask",)]):
                quote[f"{word}_quantity"] = abs(size(rng, each, prices, usd))
                price = _price(rng, each, prices)
                if price is not None:
                    quote[f"{word}_price"] = price
            quotes.append(quote)
        group: dict[str, Any] = {"id": "mm", "quotes": quotes, "pool": rng.choice(pools)}
        if rng.random() < 0.7:
            group["protection_limit_usd"] = usd * rng.uniform(0.0, 0.1)
        out["quote_groups"] = [group]
