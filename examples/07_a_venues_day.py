"""A venue's day: 1,000 accounts through a crash, on a ledger that sums to zero.

With recorded data (variable CROSSMARGIN_DATA) the marks are those of 5 February 2026; else they are
drawn from a seed, with a fall of the same size.
"""

import os
import random
from pathlib import Path

from crossmargin import __version__
from crossmargin.accounts.generated import generated_venue
from crossmargin.accounts.journal import open_journal
from crossmargin.accounts.store import create_store, verify_store
from crossmargin.liquidation import ClosingCost, liquidation_rules
from crossmargin.liquidation.day import Rates, VenueDay
from crossmargin.reports.venue_day import Life, render_day
from crossmargin.units import NS_PER_SECOND, parse_time

BTC, ETH = "BTC_USDC-PERPETUAL", "ETH_USDC-PERPETUAL"
START, QUARTER = parse_time("2026-02-05T00:00:00Z"), 900 * NS_PER_SECOND


def marks() -> dict[str, list[float]]:
    """Return a day of marks, one each quarter of an hour."""
    if "CROSSMARGIN_DATA" in os.environ:
        import polars as pl

        path = Path(os.environ["CROSSMARGIN_DATA"]) / "binance_perp_crash_windows.parquet"
        wanted = (pl.col("date").dt.date() == pl.date(2026, 2, 5)) & (pl.col("interval") == "15m")
        rows = pl.read_parquet(path).filter(wanted).sort("date")
        names = {BTC: "BTCUSDT", ETH: "ETHUSDT"}.items()
        return {n: rows.filter(pl.col("symbol") == s)["close"].to_list() for n, s in names}
    rng, found = random.Random(5), {}
    for name, price in ((BTC, 73_000.0), (ETH, 2_150.0)):
        steps = [rng.gauss(-0.0035 if k > 48 else -0.0005, 0.004) for k in range(96)]
        found[name] = [price := round(price * (1 + step), 2) for step in steps]
    return found


def main() -> None:
    path, ticks, lives = marks(), [], {}
    create_store("day.ledger")
    with open_journal("day.ledger", writer="example") as journal:
        state, opening = journal.state, {name: line[0] for name, line in path.items()}
        journal.post(generated_venue(1_000, opening, seed=5, time_ns=START))
        rates = dict.fromkeys(path, Rates(im=0.05, mm=0.025))
        rules, costs = liquidation_rules("house"), ClosingCost(slip_rate=0.001)
        day = VenueDay(state, journal.post, rates, rules, costs=costs)
        for k in range(len(path[BTC])):
            now = START + (k + 1) * QUARTER
            if k % 32 == 31:
                day.funding(now, dict.fromkeys(path, "0.0001"))
            with journal.together():  # one durable commit a mark
                ticks.append(day.mark(now, {name: f"{line[k]:.2f}" for name, line in path.items()}))
            for pot in state.pots():
                lives.setdefault(pot.name, []).append(day.stand(pot))
        state.audit()  # every asset sums to zero over all lines, and longs equal shorts
        count, digest = state.count, state.digest()
    with open_journal("day.ledger") as again:
        assert again.state.digest() == digest  # the same events give the same state
    proof = verify_store("day.ledger")
    below = [name for tick in ticks for name in tick.breached]
    print(f"{len(lives):,} accounts, {len(set(below)):,} below their line")
    paid, closed = sum(t.fund_paid for t in ticks) / 1e6, sum(t.closed for t in ticks)
    print(f"{closed:,.0f} USDC closed by force, {paid:,.2f} paid by the fund")
    print(f"{proof.what}; state {digest[:16]}")
    most = max(sorted(set(below)), key=below.count)
    said = {k: "below the line: liquidation" for k, t in enumerate(ticks) if most in t.breached}
    columns = {x: [getattr(s, x) / 1e6 for s in lives[most]] for x in ("equity", "im", "mm")}
    page = render_day(
        "5 February 2026", [f"{count:,} events; the ledger sums to zero"], ticks, path,
        Life(account=most, events=said, **columns), unit=10**6, asset="USDC", version=__version__,
    )  # fmt: skip
    Path("day.html").write_text(page)


if __name__ == "__main__":
    main()
