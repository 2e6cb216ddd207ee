"""Daily closes made up for the demo, so that rule-sets which look back work without a download.

Nothing in them was recorded. They have what such a rule-set needs to find: volatility that comes in
waves, tails fatter than a normal's, and coins that fall together.
"""

from __future__ import annotations

import math
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from crossmargin.stats import root, stream

#: The last close is that of the day before the second demo market.
LAST_DAY = date(2026, 2, 4)
DAYS = 1_500
SEED = 20260204
#: House figures: daily volatility in the long run and the last close, by coin; correlation,
#: degrees of freedom, and how volatility follows the day before (GARCH) and itself.
COINS = {"BTC": (0.026, 75_000.0), "ETH": (0.038, 2_200.0)}
CORRELATION, DEGREES = 0.8, 5.0
SHOCK, MEMORY = 0.08, 0.90


def made_up_closes() -> str:
    """Return the closes as CSV: ``date`` and a column a coin, six digits.

    ``r_t = σ_t·z_t``, ``σ²_{t+1} = (1 − a − b)·σ² + a·r_t² + b·σ²_t``, z multivariate t of unit
    variance. Source: house; the recursion is Bollerslev's (1986).
    """
    rng = stream(SEED)
    names = list(COINS)
    joint = np.full((len(names), len(names)), CORRELATION)
    np.fill_diagonal(joint, 1.0)
    normal = rng.standard_normal((DAYS - 1, len(names))) @ root(joint).T
    shared = np.sqrt(rng.chisquare(DEGREES, DAYS - 1) / DEGREES)[:, None]
    z = normal / shared * math.sqrt((DEGREES - 2.0) / DEGREES)
    calm = np.array([sigma for sigma, _ in COINS.values()]) ** 2
    variance, moves = calm.copy(), np.empty_like(z)
    for day in range(DAYS - 1):
        moves[day] = np.sqrt(variance) * z[day]
        variance = (1.0 - SHOCK - MEMORY) * calm + SHOCK * moves[day] ** 2 + MEMORY * variance
    path = np.concatenate([np.zeros((1, len(names))), np.cumsum(moves, axis=0)])
    closes = np.exp(path - path[-1]) * np.array([last for _, last in COINS.values()])
    first = LAST_DAY - timedelta(days=DAYS - 1)
    rows = [
        ",".join([(first + timedelta(days=k)).isoformat(), *(f"{x:.6g}" for x in row)])
        for k, row in enumerate(closes.tolist())
    ]
    return "\n".join([",".join(["date", *names]), *rows]) + "\n"


def write_demo_history(out: Path) -> Path:
    """Write the closes as ``made-up.csv`` and return the path."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "made-up.csv"
    path.write_text(made_up_closes(), encoding="utf-8")
    return path
