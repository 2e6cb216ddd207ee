"""Pictures and pages of cascades: where marks stand, what is said, nothing unescaped."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from crossmargin.cascade.build import run_scenario, script_gain
from crossmargin.cascade.contagion import crowd_contagion
from crossmargin.cascade.facts import fact_table, judge
from crossmargin.cascade.heat import heat
from crossmargin.cascade.outcome import lorenz, outcome
from crossmargin.cascade.policies import size_fund
from crossmargin.cascade.scenario_file import load_scenario, with_changes
from crossmargin.cascade.studies import Plan, grid, run_study, seeds_of
from crossmargin.reports._cascade_charts import (
    fan_chart,
    heat_chart,
    layers_chart,
    path_chart,
    stack_chart,
    volume_chart,
)
from crossmargin.reports._cascade_maps import (
    contagion_chart,
    critical_line,
    lorenz_chart,
    network_chart,
    phase_chart,
)
from crossmargin.reports.cascade import LIMITS, CascadeView, render_cascade
from crossmargin.reports.cascade_study import render_study

SMALL = {"population.accounts": 300, "clock.steps": 40, "clock.step_s": 90.0}
VOID = {"meta", "link", "br"}


class Tags(HTMLParser):
    """Fails on an element that is closed out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def well_formed(text: str) -> None:
    reader = Tags()
    reader.feed(text)
    assert reader.open == []
    assert "nan" not in re.sub(r"<[^>]*>", " ", text).lower().split()
    assert "NaN" not in text and "inf%" not in text


def rects(text: str, kind: str) -> list[tuple[float, float, float, float]]:
    """Return x, y, width, height of the rectangles in groups of one class."""
    groups = re.findall(rf'<g class="mark {kind}"[^>]*>(.*?)</g>', text)
    found = []
    for group in groups:
        x, y, w, h = re.search(  # type: ignore[union-attr]
            r'<rect x="([\d.]+)%" y="([\d.-]+)" width="([\d.]+)%" height="([\d.]+)"', group
        ).groups()
        found.append((float(x), float(y), float(w), float(h)))
    return found


class TestCharts:
    def test_the_gap_between_price_and_news_is_said(self) -> None:
        text = path_chart(
            "BTC", [0.0, 1.0, 2.0], np.array([100.0, 80.0, 90.0]), np.array([100.0, 95.0, 96.0])
        )
        assert "lowest -20.0 %, without forced sales -5.0 %" in text
        well_formed(text)

    def test_columns_stand_upon_each_other(self) -> None:
        text = volume_chart(
            [1.0, 2.0], {"longs": np.array([10.0, 0.0]), "shorts": np.array([5.0, 5.0])}
        )
        (low,), above = rects(text, "k0"), rects(text, "k1")
        assert low[3] == pytest.approx(2 * above[0][3], rel=1e-3)  # twice as high
        assert above[0][1] + above[0][3] == pytest.approx(low[1], abs=0.02)  # on top of it
        assert above[1][1] + above[1][3] == pytest.approx(low[1] + low[3], abs=0.02)

    def test_layers_use_up_the_loss(self) -> None:
        text = layers_chart(100.0, [("Fund", 60.0), ("ADL", 40.0)])
        bars = re.findall(r'<rect x="([\d.]+)%" y="\d+" width="([\d.]+)%" height="16"', text)
        assert [(float(x), float(w)) for x, w in bars] == [(0, 100), (40, 60), (0, 40)]

    def test_hot_prices_are_shaded_across(self) -> None:
        edges = np.array([80.0, 90.0, 100.0])
        closed = np.array([[0.0, 7.0], [3.0, 0.0]])
        text = heat_chart("X", [0, 1, 2], np.array([100.0, 95, 85]), edges, closed,
                          np.array([5.0, 0.0]), np.array([1.5, 0.2]))  # fmt: skip
        (hot,) = rects(text, "hot")
        dark = rects(text, "loss")
        assert len(dark) == 2
        assert hot[2] == pytest.approx(sum(d[2] for d in dark), rel=1e-3)  # the whole width
        assert hot[1] == pytest.approx(max(d[1] for d in dark), abs=0.02)  # the lower row
        assert "gain band" in text
        cold = heat_chart("X", [0, 1, 2], np.array([100.0, 95, 85]), edges, closed,
                          np.array([5.0, 0.0]), np.array([0.5, 0.2]))  # fmt: skip
        assert "gain band" not in cold

    def test_more_contracts_than_colours_are_added_up(self) -> None:
        lines = {f"C{k}": np.array([100.0 - k, 50.0]) for k in range(9)}
        text = stack_chart([0.0, 1.0], lines, "open interest")
        assert "4 others" in text
        assert text.count("<polygon") == 6
        well_formed(text)

    def test_the_fan_is_symmetric_pairs(self) -> None:
        levels = {q: np.array([0.0, -10.0 * (1 - q)]) for q in (0.05, 0.25, 0.5, 0.75, 0.95)}
        text = fan_chart([0.0, 1.0], levels, "price")
        assert "5\u00a0% to 95\u00a0% of the runs" in text and "25\u00a0% to 75\u00a0%" in text
        assert "median -5.0 %" in text


class TestMaps:
    def test_the_critical_line_lies_where_rho_is_one(self) -> None:
        """ρ = leverage/(8·depth): the line is leverage = 8·depth, straight in logarithms."""
        xs, ys = np.log([2.0, 4.0, 8.0, 16.0]), np.log([0.3, 0.6, 1.2, 2.4])
        radius = np.exp(xs)[None, :] / (8.0 * np.exp(ys)[:, None])
        pieces = critical_line(xs, ys, radius)
        assert len(pieces) >= 3
        for piece in pieces:
            for x, y in piece:
                assert x - y == pytest.approx(np.log(8.0))
        assert critical_line(xs, ys, np.full((4, 4), 0.5)) == []

    def test_phases_show_every_number(self) -> None:
        values = np.array([[1.5, 9.25], [1.1, 2.75]])
        text = phase_chart([2.0, 8.0], [1.0, 4.0], values, np.array([[0.5, 2.0], [0.1, 0.6]]))
        for number in ("1.50", "9.25", "1.10", "2.75"):
            assert number in text
        assert 'class="crit"' in text
        well_formed(text)

    def test_own_positions_are_no_link(self) -> None:
        matrix = np.array([[0.5, 0.2], [0.0, 0.4]])
        text = network_chart(["A", "B"], ["A", "B"], matrix)
        assert text.count('class="link"') == 1
        assert "A to B 20.0\u00a0%" in text
        shown = contagion_chart(["A", "B"], ["A", "B"], matrix)
        assert "A closes 50.0" in shown
        well_formed(shown)

    def test_names_are_escaped(self) -> None:
        text = network_chart(["<b>"], ['"x"'], np.array([[0.5]]))
        assert "<b>" not in text
        text = contagion_chart(["<b>"], ['"x"'], np.array([[0.5]]))
        assert "<b>" not in text

    def test_lorenz_curves_carry_their_gini(self) -> None:
        curve = lorenz(np.array([0.0, 0.0, 0.0, 1.0]), 5)
        text = lorenz_chart({"queue": (np.linspace(0, 1, 5), np.array(curve))}, "winners")
        assert "Gini 0.75" in text


@pytest.fixture(scope="module")
def view() -> CascadeView:
    scenario = with_changes(load_scenario("2025-10-10"), SMALL)
    people, run = run_scenario(scenario, 1)
    made = outcome(people, run)
    return CascadeView(
        scenario=scenario,
        people=people,
        run=run,
        outcome=made,
        radius=script_gain(scenario, people),
        heat=heat(people, run, 0),
        inside=crowd_contagion(people, scenario.shocks, "proportional"),
        facts=judge(fact_table("2025-10-10"), people, run, made),
    )


class TestPages:
    def test_the_page_of_a_run_says_its_limits_and_its_facts(self, view: CascadeView) -> None:
        text = render_cascade(view, version="0")
        well_formed(text)
        for line in LIMITS:
            assert line.replace("'", "&#x27;") in text
        for verdict in ("matched", "off", "not identified"):
            assert f">{verdict}</span>" in text
        assert "http" not in text.replace("http-equiv", "")
        assert text == render_cascade(view, version="0")

    def test_the_page_of_a_study(self) -> None:
        scenario = with_changes(load_scenario("crash"), SMALL)
        variants = grid({"depth.factor": [1.0, 4.0], "population.median_leverage": [3.0, 8.0]})
        made = run_study(Plan(scenario=scenario, variants=variants, seeds=seeds_of(1, 5)))
        text = render_study("Phases", made, version="0", phase=([3.0, 8.0], [1.0, 4.0]))
        well_formed(text)
        assert "ρ(G) = 1" in text
        text = render_study(
            "Fans", made, version="0", funds=size_fund(made, variants[0].label, 0.2)
        )
        well_formed(text)
        assert "How large a fund" in text and "5\u00a0% to 95\u00a0% of the runs" in text
