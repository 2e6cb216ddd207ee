"""NautilusTrader: ``MarginAccount``, initial and maintenance margin of ten positions.

It computes something else: a rate times notional for each position, without scenarios and
without netting. There are no numbers of ours to hold it to; its own are checked against rate ×
quantity × price.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.rivals import NotInstalledError

PACKAGE = "nautilus_trader"


def ten_positions(positions: int = 10) -> Callable[[], float]:
    """Return the call that computes both margins of each position and adds them up.

    Quantities, prices and sides are made beforehand.

    Raises
    ------
    NotInstalledError
        Without nautilus_trader.
    """
    try:
        from nautilus_trader.model.enums import PositionSide
        from nautilus_trader.test_kit.providers import TestInstrumentProvider
        from nautilus_trader.test_kit.stubs.execution import TestExecStubs
    except ImportError as error:
        raise NotInstalledError("nautilus_trader is not installed") from error
    account = TestExecStubs.margin_account()
    instruments = [
        TestInstrumentProvider.btcusdt_perp_binance(),
        TestInstrumentProvider.ethusdt_perp_binance(),
    ]
    held = []
    for k in range(positions):
        one = instruments[k % 2]
        side = PositionSide.LONG if k % 3 else PositionSide.SHORT
        held.append((one, side, one.make_qty(1.5 + k), one.make_price(50_000.0 + k)))

    def run() -> float:
        total = 0.0
        for one, side, quantity, price in held:
            total += account.calculate_margin_init(one, quantity, price).as_double()
            total += account.calculate_margin_maint(one, side, quantity, price).as_double()
        return total

    wanted = sum(
        float(q) * float(p) * (float(i.margin_init) + float(i.margin_maint)) for i, _, q, p in held
    )
    assert abs(run() - wanted) <= 1e-6 * wanted, "MarginAccount is not rate × notional"
    return run
