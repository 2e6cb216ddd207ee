"""A desk's morning: why the margin moved, what would break it, what to release, how to trade."""

from crossmargin.analytics import (
    Add,
    Moment,
    WhatIf,
    explain_change,
    margin_path,
    release_list,
    reverse_stress,
    run_stress,
    stress_library,
    tail_cost,
)
from crossmargin.analytics.account_risk import default_risk_model
from crossmargin.book import book_from_accounts
from crossmargin.margin import CarriedAccount, evaluate, load_ruleset, make_statement
from crossmargin.venues import load_account, load_market


def main() -> None:
    desk, rules = load_account("short-vol-desk"), load_ruleset("deribit-pm-cross")
    before, now = load_market("calm-2026-02-03"), load_market("crash-2026-02-05")

    # 1. What happened to the margin while we slept?
    made = explain_change(
        Moment(account=desk, market=before, ruleset=rules),
        Moment(account=desk, market=now, ruleset=rules),
    )
    print(f"IM {made.im_then_usd:,.0f} -> {made.im_now_usd:,.0f} USD over {made.days:.1f} days")
    for part in made.parts:
        print(f"  {part.cause:<18}{part.im_usd:+12,.0f}")
    print(f"  residual {abs(made.residual_usd) <= 1e-9 and 'below 1e-9'}")

    # 2. Where do we stand, and what does pooling put at stake?
    totals = make_statement(desk, now, rules).totals
    tail = tail_cost(evaluate(book_from_accounts([desk]), now, rules), now)
    print(f"equity {totals.equity:,.0f}, health {totals.health:.2f}, state {totals.state}")
    print(f"pooling saves {totals.saving:.1%} and puts {tail.rise:,.0f} USD more at stake")

    # 3. What would break us?
    stress = run_stress(desk, now, rules, stress_library())
    worst = sorted(stress.rows, key=lambda row: -row.loss_after_cost_usd)[:3]
    for row in worst:
        print(f"  {row.scenario:<18} loses {row.loss_after_cost_usd:10,.0f}  {row.state}")
    carried = CarriedAccount(desk, now, rules)
    near = reverse_stress(carried, default_risk_model(now, carried.coins))
    moves = ", ".join(f"{coin} {move:+.1%}" for coin, move in near.moves.items())
    print(f"nearest breach {near.sigma:.1f} daily sigma away: {moves}")

    # 4. Which positions hold the margin?
    for step in release_list(desk, now, rules, most=3):
        print(f"  close {step.instrument:<22} releases {step.released_usd:10,.0f} USD")

    # 5. A new condor: what it asks for, and in which order its legs are best done.
    asked = WhatIf(desk, now, rules)
    legs = (("55000-P", -20), ("80000-C", -20), ("45000-P", 20), ("95000-C", 20))
    condor = [Add(instrument=f"BTC-27MAR26-{name}", quantity=q) for name, q in legs]
    print(asked.ask(condor).sentence)
    path = margin_path(desk, now, rules, asked.traded(condor).trades)
    for step in path.best.steps[1:]:
        print(f"  {step.name:<28} IM {step.im_usd:10,.0f}")
    saved = path.given.peak_usd - path.best.peak_usd
    print(
        f"margin path: peak {path.given.peak_usd:,.0f} as listed, {path.best.peak_usd:,.0f} in the "
        f"best order ({saved:,.0f} USD less)"
    )


if __name__ == "__main__":
    main()
