from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser

import msgspec
import pytest

from crossmargin.analytics import ComparisonRow, PriceProfile
from crossmargin.margin import decode_statement, encode_statement
from crossmargin.reports import render_report

VOID = {"meta", "link", "br", "img"}


class _Checker(HTMLParser):
    """Well-formed HTML: what opens closes, in order; collects what a test asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\u00a0", " ").split())


def check(page: str) -> _Checker:
    """Parse a page and assert what holds of every report."""
    seen = _Checker()
    seen.feed(page)
    seen.close()
    assert seen.open == []
    assert len(seen.ids) == len(set(seen.ids))
    for tag, attrs in seen.tags:
        assert not any(name.startswith("on") or name == "style" for name in attrs), (tag, attrs)
        for name in ("src", "href", "xlink:href", "action"):
            value = attrs.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, value)
    for tag, attrs in seen.tags:
        if tag == "svg" and attrs.get("role") == "img":
            assert attrs.get("aria-label")
            assert attrs.get("tabindex") == "0"
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert not re.search(r"\b(nan|inf|None)\b", seen.text), seen.text
    assert len(page.encode()) < 300_000
    return seen


def charts(seen: _Checker) -> list[str]:
    return [
        str(a["class"]).split()[1]
        for tag, a in seen.tags
        if tag == "svg" and a.get("role") == "img"
    ]


def test_a_whole_report(covered) -> None:
    made, profiles = covered
    page = render_report(made, profiles, comparison=[made], title="Evening report")
    seen = check(page)
    assert charts(seen) == ["gauge", "waterfall", "bars", "heat", "heat", "curve", "bars"]
    for words in (
        "Evening report",
        made.account,
        made.ruleset.id,
        made.ruleset.effective_from,
        "Collateral after haircut",
        "Rule-set incomplete",
        "Net greeks by group",
        made.hashes.market,
        "healthy",
        "encode_statement(recompute(statement)) == encode_statement(statement)",
    ):
        assert words in seen.text, words
    for gap in made.ruleset.gaps:
        assert gap in seen.text
    for note in made.notes:
        assert note in seen.text


def test_same_input_same_bytes(covered) -> None:
    made, profiles = covered
    first = render_report(made, profiles, comparison=[made])
    again = decode_statement(msgspec.json.encode(made))
    assert render_report(again, list(profiles), comparison=[again]) == first


def test_the_statement_inside_gives_itself_again(make, tmp_path, monkeypatch) -> None:
    made, profiles = make(
        [("BTC_USDC-PERPETUAL", 1.0, 50_000.0)], rules="paradex-pm", account="<&\u2028>"
    )
    page = render_report(made, profiles)
    inside = re.search(r'id="statement">(.*?)</script>', page, re.DOTALL)
    assert inside is not None
    saved = inside.group(1).encode()
    assert encode_statement(decode_statement(saved)) == encode_statement(made)
    steps = re.search(r"<pre><code>(.*?)</code></pre>", page, re.DOTALL)
    assert steps is not None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "statement.json").write_bytes(saved)
    exec(html.unescape(steps.group(1)), {})


def test_the_policy_allows_its_own_style_and_script_only(covered) -> None:
    made, profiles = covered
    page = render_report(made, profiles)
    for tag in ("style", "script"):
        body = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert body is not None
        digest = base64.b64encode(hashlib.sha256(body.group(1).encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in page
    assert "default-src 'none'" in page
    assert "localStorage" not in page and "document.cookie" not in page


def test_markup_in_names_is_text(make) -> None:
    name, words = "<script>alert('x')</script>", '"><img src=x onerror=alert(1)> & </style>'
    made, profiles = make([("BTC_USDC-PERPETUAL", 1.0, 50_000.0)], account=name, description=words)
    seen = check(render_report(made, profiles, title="<i>title</i>"))
    assert name in seen.text and "<i>title</i>" in seen.text
    assert "onerror=alert(1)" in seen.text
    assert all(tag not in ("i", "img") for tag, _ in seen.tags)
    assert sum(tag == "script" for tag, _ in seen.tags) == 2


def test_an_empty_account(make) -> None:
    made, profiles = make([], balances=(("USDC", 1_000.0),))
    seen = check(render_report(made, profiles))
    assert charts(seen) == ["gauge"]
    assert "nothing required" in seen.text
    assert "No positions." in seen.text
    bare, _ = make([("BTC_USDC-PERPETUAL", 1.0, 50_000.0)], balances=())
    assert "No balances." in check(render_report(bare, [])).text


def test_rules_without_a_scan(make) -> None:
    made, profiles = make([("BTC_USDC-PERPETUAL", 1.0, 50_000.0)], rules="deribit-sm")
    seen = check(render_report(made, profiles))
    assert "scans no scenarios" in seen.text
    assert "heat" not in charts(seen)


def test_many_positions_are_folded_in_the_chart_and_whole_in_the_table(make) -> None:
    legs = [
        (f"BTC_USDC-27MAR26-{30_000 + 250 * k}-{'CP'[k % 2]}", (-1.0) ** (k // 2), None)
        for k in range(200)
    ]
    made, profiles = make(legs, balances=(("USDC", 5e6),))
    page = render_report(made, profiles)
    seen = _Checker()
    seen.feed(page)
    assert "177 smaller lines" in seen.text
    assert seen.text.count("BTC_USDC-27MAR26-30250-P") >= 2
    assert charts(seen).count("bars") == 2
    assert len(page.encode()) < 1_000_000


def test_negative_equity_is_said_and_drawn(make) -> None:
    made, profiles = make([("BTC_USDC-PERPETUAL", 1.0, 120_000.0)], balances=(("USDC", 1_000.0),))
    assert made.totals.state == "bankrupt"
    seen = check(render_report(made, profiles))
    assert "bankrupt" in seen.text and "equity is below zero" in seen.text
    assert "−69,000 USD" in seen.text
    assert "already below maintenance margin" in seen.text


def test_missing_liquidation_sides_are_said(make) -> None:
    made, profiles = make([("BTC_USDC-PERPETUAL", 1.0, 50_000.0)], balances=(("USDC", 3e5),))
    assert made.liquidation[0].down.price_usd is None
    seen = check(render_report(made, profiles))
    assert "no liquidation if BTC falls" in seen.text
    assert "no liquidation if BTC rises" in seen.text
    assert "none, down to 1 % of the price" in seen.text
    unsolved, profiles = make([("BTC_USDC-PERPETUAL", 1.0, 50_000.0)], solve=False)
    seen = check(render_report(unsolved, profiles))
    assert "liquidation prices not solved" in seen.text


def test_several_pots_are_named(make) -> None:
    made, profiles = make(
        [("BTC-PERPETUAL", 20_000.0, 60_000.0), ("ETH_USDC-PERPETUAL", 5.0, 2_000.0)],
        rules="deribit-pm",
        balances=(("BTC", 0.05), ("USDC", 20_000.0)),
    )
    assert len(made.pots) == 2
    seen = check(render_report(made, profiles))
    assert "The lines add up 2 pots" in seen.text
    assert "BTC in cross/BTC" in seen.text
    assert "0.050000 BTC" not in seen.text
    assert re.search(r"−?0\.\d{6} BTC", seen.text)


def test_profiles_with_few_points(covered) -> None:
    made, _ = covered
    one = PriceProfile("BTC", 50_000.0, [50_000.0], [1.0], [1.0], [1.0])
    flat = PriceProfile("BTC", 50_000.0, [49_000.0, 51_000.0], [0.0] * 2, [0.0] * 2, [0.0] * 2)
    seen = check(render_report(made, [one, flat]))
    assert charts(seen).count("curve") == 1
    assert "fewer than two prices" in seen.text
    assert "curve" not in charts(check(render_report(made, [])))


def test_comparison_rows_carry_tail_cost_and_refusals(make, covered) -> None:
    made, profiles = covered
    other, _ = make([("BTC_USDC-PERPETUAL", 1.0, 49_000.0)], rules="paradex-pm")
    rows = [other, ComparisonRow(ruleset="elsewhere", error="RUL-020: no haircut")]
    seen = check(render_report(made, profiles, comparison=rows))
    assert "elsewhere: RUL-020: no haircut" in seen.text
    # Nothing unknown touches the first; the second leaves its fee provision out.
    assert made.ruleset.complete_here and f"{made.ruleset.id} *" not in seen.text
    assert seen.text.index("elsewhere") and "paradex-pm *" in seen.text
    assert "tail cost" not in seen.text


@pytest.mark.parametrize("state", ["healthy", "reduce-only", "liquidation", "bankrupt"])
def test_states_are_words(covered, state: str) -> None:
    made, profiles = covered
    totals = msgspec.structs.replace(made.totals, state=state)
    seen = check(render_report(msgspec.structs.replace(made, totals=totals), profiles))
    badges = [a for tag, a in seen.tags if a.get("class") == f"badge {state}"]
    assert badges and state in seen.text


def test_embedded_json_cannot_close_its_element(make) -> None:
    made, profiles = make([], account="</script><!--<script>")
    page = render_report(made, profiles)
    inside = re.search(r'id="statement">(.*?)</script>', page, re.DOTALL)
    assert inside is not None and "<" not in inside.group(1)
    assert json.loads(inside.group(1))["account"] == made.account
