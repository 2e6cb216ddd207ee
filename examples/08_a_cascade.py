"""A cascade on a made-up venue: what it adds to a fall, who pays, and which designs do better.

Depths and withdrawal are published figures; people, news and absorption are assumptions. It ranks
designs and does not forecast prices.
"""

from pathlib import Path

from crossmargin import __version__
from crossmargin.cascade import (
    Plan,
    crowd_contagion,
    fenced,
    heat,
    load_scenario,
    outcome,
    people_of,
    policy_variants,
    ranked,
    run_scenario,
    run_study,
    seeds_of,
    size_fund,
    with_changes,
)
from crossmargin.cascade.build import script_gain
from crossmargin.reports.cascade import CascadeView, render_cascade

SMALL = {"population.accounts": 1500, "clock.steps": 90, "clock.step_s": 60.0}


def main() -> None:
    scenario = with_changes(load_scenario("crash"), SMALL)
    people, run = run_scenario(scenario, seed=3)
    made = outcome(people, run)
    gain = script_gain(scenario, people)
    print(f"{people.size:,} accounts; gain of those whom the news reaches: {gain:.2f}")
    print(f"BTC falls by {-made.drop:.1%}, of which {-made.news_drop:.1%} is news")
    print(f"closed by force {made.liquidated_usd / 1e9:.2f} bn, {made.one_sided:.0%} of it longs")
    print(f"open interest {made.oi_drop:+.1%}, against holders {made.adl_usd / 1e9:.2f} bn")
    assert run.conservation < 1e-9  # every law of conservation, after every step

    # What pots carry from one coin to another, with walls inside accounts and without.
    for words, crowd in (("cross", people), ("isolated", fenced(people))):
        found = crowd_contagion(crowd, {"BTC": -0.12}, "proportional")
        closed = ", ".join(f"{c} {x:.1%}" for c, x in zip(found.closed, found.matrix[0]))
        print(f"BTC −12 % alone, {words}: closes {closed}")

    # The same people and the same news under each design.
    designs = Plan(
        scenario=scenario, variants=policy_variants(scenario, "closing"), seeds=seeds_of(1, 6)
    )
    study = run_study(designs, folder="closing")  # broken off, it goes on from here
    for row in ranked(study, "drop"):
        print(f"{row.label}: falls by {-row.mean:.1%}, {row.difference:+.2%} ± {row.error:.2%}")

    big = with_changes(scenario, {"rules.fund_share": 0.2})
    deficits = run_study(Plan(scenario=big, variants=designs.variants[:1], seeds=seeds_of(1, 20)))
    fund = size_fund(deficits, designs.variants[0].label, target=0.1)
    print(f"a fund of {fund.by_target / 1e6:.0f} M is used up in a tenth of the runs at most")

    page = render_cascade(
        CascadeView(
            scenario=scenario, people=people_of(scenario), run=run, outcome=made,
            radius=gain, heat=heat(people, run, 0),
            inside=crowd_contagion(people, scenario.shocks, "proportional"),
        ),
        version=__version__,
    )  # fmt: skip
    Path("cascade.html").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
