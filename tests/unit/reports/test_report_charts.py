from __future__ import annotations

import re

import msgspec
import pytest

from crossmargin.margin.statement_types import Step
from crossmargin.reports._bars import contributions
from crossmargin.reports._heatmap import scan_charts
from crossmargin.reports._price_chart import price_chart
from crossmargin.reports._svg import Svg, pc, span, tidy_ticks
from crossmargin.reports._waterfall import gauge_chart, waterfall_chart


def bars(markup: str, kind: str) -> list[tuple[float, float]]:
    """Return start and width, in percent, of the bars of one kind."""
    found = []
    for group in re.findall(rf'<g class="mark {kind}".*?</g>', markup, re.DOTALL):
        bar = re.search(r'<rect x="([-\d.]+)%"[^>]* width="([\d.]+)%"[^>]*class="bar"', group)
        assert bar is not None
        found.append((float(bar.group(1)), float(bar.group(2))))
    return found


def test_ticks_are_round_and_inside() -> None:
    assert tidy_ticks(0.0, 10.0, 5) == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    assert tidy_ticks(-75_000.0, 60_000.0, 5) == [-50_000.0, 0.0, 50_000.0]
    assert tidy_ticks(3.0, 3.0, 5) == [3.0]
    assert span([]) == (0.0, 1.0)
    assert span([-2.0]) == (-2.0, 0.0)
    assert pc(1 / 3) == "33.333%"


def test_attributes_are_escaped() -> None:
    svg = Svg("x", 10, 'say "<hi>"')
    svg.text(0.5, 1, "<t>", cls='a"b')
    markup = svg.markup()
    assert 'aria-label="say &quot;&lt;hi&gt;&quot;"' in markup
    assert "&lt;t&gt;" in markup and 'a"b"' not in markup


def test_waterfall_bars_join_up() -> None:
    steps = [
        Step(label="standalone scans", kind="total", usd=1_000.0),
        Step(label="netting", kind="change", usd=-800.0),
        Step(label="roll", kind="change", usd=100.0),
        Step(label="initial margin", kind="total", usd=300.0),
    ]
    markup = waterfall_chart(steps)
    assert bars(markup, "total") == [(0.0, 100.0), (0.0, 30.0)]
    assert bars(markup, "fall") == [(20.0, 80.0)]
    assert bars(markup, "rise") == [(20.0, 10.0)]


def test_waterfall_below_zero_keeps_its_axis() -> None:
    steps = [
        Step(label="first", kind="total", usd=100.0),
        Step(label="credit", kind="change", usd=-200.0),
    ]
    markup = waterfall_chart(steps)
    assert bars(markup, "fall") == [(0.0, 100.0)]
    assert bars(markup, "total") == [(50.0, 50.0)]
    assert 'class="zero"' in markup


def test_gauge_turns_when_equity_is_short(covered) -> None:
    totals = covered[0].totals
    assert "mark total" in gauge_chart(totals)
    short = msgspec.structs.replace(totals, equity=totals.mm - 1.0)
    assert "mark short" in gauge_chart(short)


def test_contributions_add_up_to_the_requirement(covered) -> None:
    made = covered[0]
    lines = contributions(made)
    assert sum(line.share for line in lines) == pytest.approx(made.totals.im, rel=1e-9)
    shares = [line.share for line in lines]
    assert shares == sorted(shares, reverse=True)


def test_heat_map_shows_every_number_and_rings_one(covered) -> None:
    group = covered[0].groups[0]
    markup = scan_charts(group, 50_000.0)
    assert markup.count('class="tint"') == len(group.scenarios)
    assert markup.count('class="ring"') == 1
    assert markup.count("<svg") == 2
    for value in group.pnl_usd:
        assert f"{abs(value):,.0f}" in markup
    loss = sum(value < 0 for value in group.pnl_usd)
    assert markup.count("mark loss") == loss
    assert markup.count("ink-hatch") == loss


def test_heat_map_without_a_binding_cell_has_no_ring(covered) -> None:
    group = msgspec.structs.replace(covered[0].groups[0], binding=None)
    assert 'class="ring"' not in scan_charts(group, None)


def test_a_group_of_tails_only(covered) -> None:
    group = covered[0].groups[0]
    group = msgspec.structs.replace(group, tails=[True] * len(group.tails))
    assert scan_charts(group, None).count("<svg") == 1


def test_liquidation_lines_stand_where_they_should(covered) -> None:
    made, profiles = covered
    line, profile = made.liquidation[0], profiles[0]
    x0, x1 = profile.price_usd[0], profile.price_usd[-1]
    inside = msgspec.structs.replace(
        line,
        down=msgspec.structs.replace(line.down, price_usd=x0 + 0.25 * (x1 - x0), distance=-0.25),
    )
    markup = price_chart(profile, inside)
    assert re.search(r'<line x1="25%"[^>]*class="at liq"', markup)
    assert re.search(r'<line x1="50%"[^>]*class="at now"', markup)
    far = msgspec.structs.replace(
        line, down=msgspec.structs.replace(line.down, price_usd=0.5 * x0, distance=-0.75)
    )
    assert "off chart" in price_chart(profile, far)
    assert "not solved" in price_chart(profile, None)
