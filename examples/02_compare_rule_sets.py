"""One account under every rule-set: the saving by pooling, and what it costs in the tail."""

from crossmargin.analytics import compare
from crossmargin.margin import load_ruleset, ruleset_ids
from crossmargin.venues import load_account, load_market


def main() -> None:
    # Paradex takes USDC only; with a haircut supplied for coins it answers too, and says so.
    supplied = {
        "collateral.assets.BTC.haircut": 0.05,
        "collateral.assets.ETH.haircut": 0.05,
        "components.fee_provision.rate": 0.0003,
    }
    rules = [
        load_ruleset(name, overrides=supplied if name == "paradex-pm" else None)
        for name in ruleset_ids()
    ]
    desk, name = load_account("short-vol-desk"), "crash-2026-02-05"
    rows = compare(desk, load_market(name), rules)
    print(f"{desk.account} in {name}, US dollars")
    print(f"  {'rule-set':<18}{'IM':>12}{'alone':>12}{'saving':>9}{'tail cost':>12}  state")
    for row in rows:
        if row.statement is None or row.tail is None:
            print(f"  {row.ruleset:<18}{row.error}")
            continue
        t = row.statement.totals
        saving = round(t.saving or 0.0, 3) + 0.0
        print(
            f"  {row.ruleset:<18}{t.im:12,.0f}{t.standalone_im:12,.0f}{saving:9.1%}"
            f"{row.tail.rise:12,.0f}  {t.state}"
        )
    tail = next(row.tail for row in rows if row.tail is not None)
    vols = ", ".join(f"{coin} {vol:.0%}" for coin, vol in tail.vol.items())
    print(
        f"  tail cost: CVaR {tail.confidence:.0%} over {tail.horizon_days:g} day, pooled less "
        f"separate; {tail.scenarios:,} Student-t scenarios, vol {vols}, "
        f"correlation {tail.correlation}, seed {tail.seed}"
    )
    print("\nwithout a source")
    for one in rules:
        for gap in one.gaps:
            print(f"  {one.id}: {gap}")


if __name__ == "__main__":
    main()
