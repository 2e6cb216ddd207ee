"""The legs of the house model worked out one number at a time, to hold the quick ones to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from crossmargin.market import FactorHistory
from crossmargin.stats import expected_shortfall, shuffles, stream

SEED = 20261123
#: What the shipped rule-set says of the basis, with tenors and endings of its series.
LEAST, RATE = 0.0005, 0.002
SERIES = (("PERP", 0.0), ("30D", 30.0), ("90D", 90.0), ("180D", 180.0))
#: Hypothetical scenarios: move of every coin, of the dollar that contracts are quoted and paid in,
#: of every basis, and of a basis per year.
JUDGED = ((0.0, -0.05, 0.0, 0.0), (-0.35, 0.0, -0.01, -0.075), (0.25, 0.0, 0.01, 0.075))


def slow_sigma(r: list[float], decay: float, warm: int) -> list[float]:
    """Volatility known before each return; a day that is missing leaves it as it was."""
    out, v, seen = [math.nan] * (len(r) + 1), 0.0, 0
    for t, x in enumerate(r):
        if not math.isnan(x):
            v = v + x * x / warm if seen < warm else decay * v + (1 - decay) * x * x
            seen += 1
        out[t + 1] = math.sqrt(v) if seen >= warm else math.nan
    return out


def rms(r: list[float]) -> float:
    known = [x for x in r if not math.isnan(x)]
    return math.sqrt(sum(x * x for x in known) / len(known)) if known else math.nan


@dataclass(frozen=True)
class Held:
    """US dollars of a coin itself, or of a contract on it (entry of `SERIES`, years to run)."""

    coin: int
    usd: float
    entry: int = -1
    years: float = 0.0


class Slow:
    """Filtered, long and stressed moves of three coins and of their contracts."""

    def __init__(
        self,
        past: FactorHistory,
        days: int,
        long_days: int,
        stress_days: int,
        *,
        fewest: int = 100,
        quoted: bool = True,
    ) -> None:
        self.coins, self.fewest, self.quoted = past.coins, fewest, quoted
        count = range(len(past.coins))
        r = [np.diff(np.log(past.price[:, a])).tolist() for a in count]
        sigma = [slow_sigma(x, 0.97, 30) for x in r]
        total = len(r[0])
        self.rows = list(range(total - days, total))
        z = [[r[a][t] / sigma[a][t] for t in self.rows] for a in count]
        weight = [0.97 ** (days - 1 - k) for k in range(days)]

        def corr(w: list[float]) -> np.ndarray:
            c = np.array(
                [[sum(w[k] * z[a][k] * z[b][k] for k in range(days)) for b in count]
                 for a in count]
            )  # fmt: skip
            d = np.sqrt(np.diag(c))
            return c / np.outer(d, d)

        then, now = np.linalg.cholesky(corr([1.0] * days)), np.linalg.cholesky(corr(weight))
        spread = [math.sqrt(sum(x * x for x in z[a]) / days) for a in count]
        turn = now @ np.linalg.inv(then)
        long = [rms(r[a][-long_days:]) for a in count]
        self.filtered, self.long = [], []
        for k in range(days):
            unit = [z[a][k] / spread[a] for a in count]
            new = [sum(turn[a, b] * unit[b] for b in count) * spread[a] for a in count]
            self.filtered.append([math.expm1(new[a] * sigma[a][-1]) for a in count])
            self.long.append([math.expm1(new[a] * long[a]) for a in count])
        every = [rms(r[a]) ** 2 for a in count]
        score = [sum(r[a][t] ** 2 / every[a] for a in count) / len(r) for t in range(total)]
        sums = [sum(score[k : k + stress_days]) for k in range(total - stress_days + 1)]
        first = max(range(len(sums)), key=lambda k: sums[k])
        worst = list(range(first, first + stress_days))
        self.stress = [[math.expm1(r[a][t]) for a in count] for t in worst]
        self._basis(past, long, long_days, worst)

    def _basis(
        self, past: FactorHistory, long: list[float], long_days: int, worst: list[int]
    ) -> None:
        """Fill ``over[set][k][coin][entry]`` and ``per_year``, with the first coin as proxy."""
        n, coins = len(self.rows), len(past.coins)
        total = len(past.days) - 1
        lots = {size: stream(SEED, 6 << 20).integers(0, 1 << 30, size=size) for size in
                {n, len(worst)}}  # fmt: skip
        noise = {
            "filtered": stream(SEED, 7 << 20).standard_normal((n, coins)),
            "stress": stream(SEED, 8 << 20).standard_normal((len(worst), coins)),
        }
        yearly = {
            "filtered": stream(SEED, 9 << 20).standard_normal((coins, n)),
            "stress": stream(SEED, 10 << 20).standard_normal((coins, len(worst))),
        }
        series: dict[tuple[int, int], list[float]] = {}
        for a, coin in enumerate(past.coins):
            for f, (ending, _) in enumerate(SERIES):
                name = f"{coin}-{ending}"
                if name in past.contracts:
                    column = past.contract[:, past.contracts.index(name)]
                    b = [math.log(x / y) for x, y in zip(column, past.price[:, a])]
                    made = [b[t + 1] - b[t] for t in range(total)]
                    # Usable once thirty returns have set the volatility.
                    begun = next((t for t, x in enumerate(made) if not math.isnan(x)), total)
                    if total - begun - 30 >= self.fewest:
                        series[a, f] = made
        self.own = set(series)
        residual: dict[tuple[int, int], list[float]] = {}
        stressed: dict[tuple[int, int], list[float]] = {}
        now: dict[tuple[int, int], float] = {}
        wide: dict[tuple[int, int], float] = {}
        whole: dict[tuple[int, int], float] = {}
        for key, x in series.items():
            sigma = slow_sigma(x, 0.97, 30)
            residual[key] = [x[t] / sigma[t] for t in self.rows]
            whole[key] = rms(x)
            stressed[key] = [x[t] / whole[key] for t in worst]
            now[key], wide[key] = sigma[-1], rms(x[-long_days:])
        pool = {key: [v for v in x if not math.isnan(v)] for key, x in residual.items()}
        far = {key: [v / whole[key] for v in x if not math.isnan(v)] for key, x in series.items()}
        self.over = {name: [] for name in ("filtered", "long", "stress")}
        self.per_year = {name: [] for name in self.over}

        def unit(table: dict, have: dict, key: tuple[int, int], k: int, size: int) -> float:
            x = table[key][k]
            if math.isnan(x) and key[0] != 0 and (0, key[1]) in table:
                x = table[0, key[1]][k]
            return have[key][int(lots[size][k]) % len(have[key])] if math.isnan(x) else x

        def one(a: int, f: int, k: int, which: str, size: int) -> tuple[float, float]:
            """Units and volatility of an entry that has a series, or of what stands in for it."""
            table, have = (stressed, far) if which == "stress" else (residual, pool)
            spread = {"filtered": now, "long": wide, "stress": whole}[which]
            if (a, f) in series:
                return unit(table, have, (a, f), k, size), spread[a, f]
            if f:
                return one(a, 0, k, which, size)
            if (0, 0) in series:
                return unit(table, have, (0, 0), k, size), spread[0, 0] * long[a] / long[0]
            return float(noise["stress" if which == "stress" else "filtered"][k, a]), 0.0

        for which, size in (("filtered", n), ("long", n), ("stress", len(worst))):
            for k in range(size):
                moves, years = [], []
                for a in range(coins):
                    found = [one(a, f, k, which, size) for f in range(len(SERIES))]
                    moves.append([u * max(s, LEAST) for u, s in found])
                    drawn = RATE * float(
                        yearly["stress" if which == "stress" else "filtered"][a, k]
                    )
                    years.append(
                        [0.0 if not days or (a, f) in series else drawn
                         for f, (_, days) in enumerate(SERIES)]
                    )  # fmt: skip
                self.over[which].append(moves)
                self.per_year[which].append(years)

    def gains(self, which: str, held: list[Held]) -> list[list[float]]:
        """Profit and loss of each coin's holdings, scenario by scenario; judged ones at the end."""
        out = []
        for k, moves in enumerate(getattr(self, which)):
            row = [0.0] * len(self.coins)
            for one in held:
                b = 0.0
                if one.entry >= 0:
                    b = self.over[which][k][one.coin][one.entry]
                    b += self.per_year[which][k][one.coin][one.entry] * one.years
                row[one.coin] += one.usd * ((1.0 + moves[one.coin]) * math.exp(b) - 1.0)
            out.append(row)
        if which != "stress":
            return out
        for move, dollar, basis, rate in JUDGED:
            row = [0.0] * len(self.coins)
            for one in held:
                b = 0.0
                if one.entry >= 0:
                    days = SERIES[one.entry][1]
                    own = (one.coin, one.entry) in self.own
                    years = days / 365.0 if own else one.years if days else 0.0
                    b = math.log1p(basis) + rate * years
                # A price in the fallen dollar rises, and what it gains is paid in it.
                paid = 1.0 + dollar if one.entry >= 0 and self.quoted else 1.0
                row[one.coin] += one.usd * ((1.0 + move) * math.exp(b) - paid)
            out.append(row)
        return out


def shortfall(gains: list[list[float]]) -> float:
    return max(expected_shortfall([-sum(row) for row in gains], 0.99), 0.0)


def slow_legs(past: FactorHistory, held: list[Held], *, quoted: bool = True) -> dict[str, float]:
    """Legs of the rule-set on the short windows of `house_worlds`; contracts in USDC or dollars."""
    slow = Slow(past, 300, 500, 60, quoted=quoted)
    count = range(len(slow.coins))

    def one(rows: list[Held]) -> tuple[float, float, float]:
        b, t, f = (shortfall(slow.gains(name, rows)) for name in ("filtered", "stress", "long"))
        return 0.75 * b, 0.25 * t, max(0.0, f - 0.75 * b - 0.25 * t)

    base, stress, floor = one(held)
    joint = base + stress + floor
    single = sum(sum(one([x for x in held if x.coin == a])) for a in count)
    days = range(300)
    gain = slow.gains("filtered", held)
    ranked = [sorted(days, key=lambda k: slow.filtered[k][a]) for a in count]
    apart = shuffles(300, len(slow.coins), SEED)
    orders = [
        apart,
        ranked,
        [ranked[0][::-1], *ranked[1:]],
        [ranked[0], ranked[1][::-1], *ranked[2:]],
    ]
    b = shortfall(gain)
    worst = max(shortfall([[gain[o[a][k]][a] for a in count] for k in days]) for o in orders)
    rise = 0.25 * max(0.0, worst - b)
    offset = max(0.0, 0.2 * (single - joint) - rise)
    return {
        "base": base, "stress": stress, "vol_floor": floor, "correlation_break": rise,
        "offset_cap": offset,
    }  # fmt: skip
