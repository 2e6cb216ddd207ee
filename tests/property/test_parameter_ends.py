"""Every figure of the rule-sets that take the demo accounts, at its ends; the laws hold.

The venues that trade less are in ``test_venue_parameters.py``, with accounts of their own.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.property.test_venue_parameters import VENUES, leaves, promised

from crossmargin.book import AccountFile, book_from_accounts
from crossmargin.errors import CrossmarginError
from crossmargin.margin import Evaluation, evaluate, load_ruleset, ruleset_ids
from crossmargin.market import Snapshot
from crossmargin.venues import load_account, load_market

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from golden.test_engine_against_oracle import SUPPLIED

ENDS = (0.0, 1e-9, 1.0, 10.0, 1e12)
#: Perpetuals against USDC alone.
LINEAR = {"hyperliquid", "hyperliquid-isolated"}
#: The house model needs a history: ``test_house_laws.py``.
NAMES = sorted(set(ruleset_ids()) - set(VENUES) - {"house"})
SECTIONS = ("components", "collateral", "scenarios", "combine", "offset")
#: Where the venue promises IM ≥ MM by figures that stand outside the pairs ``promised`` knows.
FACTORS = {"im_factor", "mm_factor", "value"}


@cache
def world() -> Snapshot:
    return load_market("crash-2026-02-05")


def held(name: str) -> AccountFile:
    from tests.helpers import account

    if name in LINEAR:
        return account(
            ("BTC_USDC-PERPETUAL", 3, 70_000),
            ("ETH_USDC-PERPETUAL", -40),
            balances={"USDC": 90_000},
        )
    who: AccountFile = load_account("short-vol-desk")
    return who


def supplied(name: str) -> dict[str, Any]:
    if name in LINEAR:
        return {}
    more = {"collateral.assets.default.haircut": 0.1} if name == "paradex-pm" else {}
    return {**SUPPLIED.get(name, {}), **more}


def figures(name: str) -> list[str]:
    data = load_ruleset(name, overrides=supplied(name)).as_dict()
    return [
        path
        for section in SECTIONS
        if data.get(section)
        for path, _ in leaves({section: data[section]})
    ]


def computed(name: str, **more: Any) -> Evaluation:
    rules = load_ruleset(name, overrides={**supplied(name), **more})
    return evaluate(book_from_accounts([held(name)]), world(), rules)


@pytest.mark.parametrize("name", NAMES)
def test_each_figure_at_its_ends(name: str) -> None:
    """Refused in a sentence, or computed: finite, not negative, IM ≥ MM where promised."""
    base = computed(name)
    assert base.im_usd >= base.mm_usd > 0
    done = refused = 0
    for path in figures(name):
        for value in ENDS:
            try:
                found = computed(name, **{path: value})
            except CrossmarginError as error:
                refused += 1
                assert "\n" not in str(error) and len(error.code) == 7
                continue
            done += 1
            rows = [found.need.im, found.mm, found.have.im, found.have.mm]
            assert all(np.isfinite(row).all() for row in rows), (path, value)
            data = found.frame.ruleset.data
            if not data.net_margin:
                assert (found.need.im >= 0).all() and (found.mm >= 0).all(), (path, value)
            plain = found.frame.ruleset.as_dict()
            if path.rsplit(".", 1)[-1] not in FACTORS and promised(plain["components"]):
                assert (found.need.im >= found.mm * (1 - 1e-12) - 1e-9).all(), (path, value)
    assert done > 10 and refused > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_wider_scenario_set_never_lowers_margin(name: str) -> None:
    rules = load_ruleset(name, overrides=supplied(name))
    if rules.data.scenarios is None or rules.scan is None:
        pytest.skip("no scenarios")
    blocks = rules.as_dict()["scenarios"]["blocks"]
    wider = [*blocks, {"moves": [-0.3, 0.3], "vols": ["same"]}]
    if any(s.moves for s in rules.data.scenarios.underlyings.values()):
        pytest.skip("underlyings state their own moves")
    before, after = computed(name), computed(name, **{"scenarios.blocks": wider})
    scan = rules.scan.name
    assert (after.need.parts[scan].im >= before.need.parts[scan].im - 1e-9).all()


@pytest.mark.parametrize("name", NAMES)
def test_monotone_in_haircut(name: str) -> None:
    """A larger haircut, a smaller factor never adds to equity."""
    for path in figures(name):
        kind = path.rsplit(".", 1)[-1]
        if not path.startswith("collateral.assets") or kind not in ("haircut", "factor"):
            continue
        sign = -1.0 if kind == "haircut" else 1.0
        last: tuple[float, float] | None = None
        for value in (0.0, 0.25, 0.5, 1.0):
            try:
                found = computed(name, **{path: value})
            except CrossmarginError:
                continue
            usd = found.frame.pot_usd
            now = (float(found.have.im @ usd), float(found.have.mm @ usd))
            if last is not None:
                assert sign * (now[0] - last[0]) >= -1e-6, (path, value)
                assert sign * (now[1] - last[1]) >= -1e-6, (path, value)
            last = now
