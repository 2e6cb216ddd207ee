"""QuantLib: blackFormula in a loop, for each option and scenario.

The loop is what one writes for one account; used well, the loop fills a table that all accounts
share, and NumPy does the rest. Both are timed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.problem import Chain, Floats
from benchmarks.rivals import NotInstalledError

PACKAGE = "QuantLib"


def prices(chain: Chain, options: np.ndarray) -> Callable[[], Floats]:
    """Return the call that gives profit of one unit of some options in each scenario.

    Lists of Python floats are made beforehand; parameters of a scenario that do not depend on the
    option are too.

    Raises
    ------
    NotInstalledError
        Without QuantLib.
    """
    try:
        import QuantLib as ql
    except ImportError as error:
        raise NotInstalledError("QuantLib is not installed") from error
    call, put, black = ql.Option.Call, ql.Option.Put, ql.blackFormula
    root = np.sqrt(chain.years[options])
    rows = list(
        zip(
            [call if c else put for c in chain.is_call[options]],
            chain.strike[options].tolist(),
            chain.forward[options].tolist(),
            (chain.vol[options] * root).tolist(),
        )
    )
    grid = list(zip((1.0 + chain.move).tolist(), chain.vol_factor.tolist()))

    def run() -> Floats:
        out = []
        for right, strike, forward, deviation in rows:
            base = black(right, strike, forward, deviation)
            out.append([black(right, strike, forward * m, deviation * v) - base for m, v in grid])
        return np.array(out)

    return run
