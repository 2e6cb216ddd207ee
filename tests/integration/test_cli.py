"""The command line as a user meets it: output, exit codes, sentences instead of tracebacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from crossmargin.cli import main

ACCOUNT = {
    "format": "crossmargin-account/1",
    "account": "acme",
    "balances": [{"asset": "BTC", "amount": "3"}, {"asset": "USDC", "amount": 100000}],
    "positions": [
        {"instrument": "BTC-6FEB26-78000-P", "quantity": 10},
        {"instrument": "BTC-27FEB26-78000-P", "quantity": -10},
        {"instrument": "BTC-PERPETUAL", "quantity": -100000, "entry_price": "mark"},
    ],
}


@pytest.fixture
def write(tmp_path: Path):
    def _write(**changes: object) -> str:
        path = tmp_path / "account.json"
        path.write_text(json.dumps({**ACCOUNT, **changes}))
        return str(path)

    return _write


def run(capsys: pytest.CaptureFixture[str], *tokens: str) -> tuple[int, str, str]:
    code = main(list(tokens))
    seen = capsys.readouterr()
    return code, seen.out, seen.err


def position(**fields: object) -> list[dict[str, object]]:
    return [{"instrument": "BTC-PERPETUAL", "quantity": 1, "entry_price": 1, **fields}]


BAD = {
    "unknown instrument": ({"positions": position(instrument="FOO")}, "INP-001", "FOO"),
    "expired option": (
        {"positions": position(instrument="BTC-2JAN26-78000-P", entry_price=None)},
        "MKT-007",
        "BTC-2JAN26-78000-P",
    ),
    "missing forward": (
        {"positions": position(instrument="BTC-3APR26-78000-P", entry_price=None)},
        "MKT-004",
        "BTC-3APR26-78000-P",
    ),
    "missing price of an underlying": (
        {"positions": position(instrument="SOL-PERPETUAL")},
        "MKT-001",
        "SOL",
    ),
    "missing mark": (
        {"positions": position(instrument="BTC_USDT-PERPETUAL")},
        "MKT-001",
        "USDT",
    ),
    "missing collateral price": (
        {"balances": [{"asset": "DOGE", "amount": 10}]},
        "MKT-001",
        "DOGE",
    ),
    "zero quantity": ({"positions": position(quantity=0)}, "INP-006", "BTC-PERPETUAL"),
    "absurd quantity": ({"positions": position(quantity=1e300)}, "INP-004", "BTC-PERPETUAL"),
    "NaN quantity": ({"positions": position(quantity="nan")}, "INP-004", "BTC-PERPETUAL"),
    "negative price": ({"positions": position(entry_price=-5)}, "INP-004", "entry_price"),
    "the same key twice": ({"positions": position() * 2}, "INP-007", "BTC-PERPETUAL"),
    "unknown field": ({"foo": 1}, "INP-003", "foo"),
    "nothing in it": ({"positions": [], "balances": []}, "INP-009", "acme"),
    "no entry price": ({"positions": position(entry_price=None)}, "INP-011", "BTC-PERPETUAL"),
    "unpublished order margin": (
        {"orders": [{"id": "1", "legs": [{"instrument": "BTC-PERPETUAL", "quantity": 5}]}]},
        "RUL-032",
        "orders.method",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_sentence_and_exit_code_2(name, write, capsys) -> None:
    changes, code, word = BAD[name]
    exit_code, out, err = run(capsys, "margin", write(**changes))
    assert (exit_code, out) == (2, "")
    assert err.startswith(code + ": ") and err.count("\n") == 1
    assert word in err and "Traceback" not in err
    if code not in ("INP-003",):
        assert "acme" in err


def test_unreadable_files(tmp_path, write, capsys) -> None:
    path = Path(write())
    for text, code in (("", "INP-002"), (path.read_text()[:90], "INP-002"), ("[]", "INP-003")):
        path.write_text(text)
        exit_code, _, err = run(capsys, "margin", str(path))
        assert exit_code == 2 and err.startswith(code)
    assert run(capsys, "margin", str(tmp_path / "no.json"))[2].startswith("INP-005")
    assert run(capsys, "margin", str(tmp_path))[2].startswith("INP-005")
    assert run(capsys, "margin", "no-such-demo")[2].startswith("INP-005")


@pytest.mark.parametrize(
    "tokens",
    [
        ("margin", "covered-call", "--ruleset", "nope"),
        ("margin", "covered-call", "--at", "yesterday"),
        ("margin", "covered-call", "--at", "2020-01-01T00:00:00Z"),
        ("margin", "covered-call", "--set", "foo.bar=1"),
        ("margin", "covered-call", "--set", "nonsense"),
        ("margin", "covered-call", "--rulset", "x"),
        ("margin", "covered-call", "--html", "/no/such/folder/r.html"),
        ("margin",),
        ("rulesets", "show", "nope"),
        ("schema", "nope"),
        ("frobnicate",),
    ],
)
def test_wrong_options_get_a_sentence(tokens, capsys) -> None:
    exit_code, _, err = run(capsys, *tokens)
    assert exit_code == 2 and err.count("\n") == 1 and "Traceback" not in err


@pytest.mark.parametrize(
    "change,code",
    [
        (lambda m: m["assets"][0].update(price_usd=-1.0), "MKT-009"),
        (lambda m: m["assets"][0].update(as_of="2026-02-03T01:00:00Z"), "MKT-002"),
        (lambda m: m["instruments"][0].update(bid=2.0, ask=1.0), "MKT-010"),
        (
            lambda m: m["instruments"].append({"instrument": "BTC-27MAR26-90000-C", "vol": -0.5}),
            "MKT-009",
        ),
        (lambda m: m["forwards"].append(m["forwards"][0]), "MKT-011"),
        (lambda m: m.update(extra=1), "INP-003"),
        (lambda m: m["surfaces"][0].update(rho=2.0), "MKT-110"),
    ],
)
def test_bad_markets(change, code, tmp_path, capsys) -> None:
    from crossmargin.venues import shipped_files

    market = json.loads(shipped_files("markets")["calm-2026-02-03"])
    change(market)
    path = tmp_path / "market.json"
    path.write_text(json.dumps(market))
    exit_code, _, err = run(capsys, "margin", "basis-trader", "--market", str(path))
    assert exit_code == 2 and err.startswith(code), err


def test_balances_alone_need_nothing_and_say_so(write, capsys) -> None:
    code, out, _ = run(capsys, "margin", write(positions=[]), "--json")
    made = json.loads(out)
    assert code == 0 and made["totals"]["im"] == 0 and made["totals"]["health"] is None
    assert "nothing is required" in made["notes"][0]
    debt = [{"asset": "BTC", "amount": -1}, {"asset": "USDC", "amount": 100000}]
    _, out, _ = run(capsys, "margin", write(positions=[], balances=debt), "--json")
    # 1 BTC owed, 16 % up: what the debt needs.
    price = json.loads(out)["balances"][0]["price_usd"]
    assert json.loads(out)["totals"]["im"] == pytest.approx(0.16 * price)


def test_tables_and_json_say_the_same(write, capsys) -> None:
    path = write()
    _, table, _ = run(capsys, "margin", path)
    _, out, _ = run(capsys, "margin", path, "--json")
    made = json.loads(out)
    assert f"{made['totals']['im']:,.2f}" in table
    assert made["format"] == "crossmargin-statement/1"
    assert made["ruleset"]["complete"] is False and made["ruleset"]["gaps"]


def test_supplied_parameters_are_named(write, capsys) -> None:
    order = [{"id": "1", "legs": [{"instrument": "BTC-PERPETUAL", "quantity": -500000}]}]
    _, out, _ = run(
        capsys, "margin", write(orders=order), "--set", "orders.method=worst-fill", "--json"
    )
    made = json.loads(out)
    assert made["ruleset"]["overrides"] == ["orders.method"]
    assert made["orders"]["im_usd"] > 0
    assert any("orders.method" in note for note in made["notes"])


def test_later_moment_reports_the_cliff(write, capsys) -> None:
    _, out, _ = run(capsys, "margin", write(), "--at", "2026-02-06T07:45:00Z", "--json")
    found = json.loads(out)
    cliff = found["cliff"]
    assert cliff["legs"] == ["BTC-6FEB26-78000-P"]
    assert cliff["im_after_worst"] == max(cliff["im_after"])
    assert cliff["im_after_worst"] >= cliff["im_after_unmoved"] > cliff["im_before"]
    assert found["statement"]["at"] == "2026-02-06T07:45:00Z"


def test_compare_all_rule_sets(capsys) -> None:
    code, out, _ = run(capsys, "compare", "basis-trader", "--json")
    rows = json.loads(out)
    assert code == 0 and len(rows) >= 7
    by_id = {row["ruleset"]: row for row in rows}
    assert by_id["paradex-pm"]["error"].startswith("RUL-020")
    for row in rows:
        if row["error"] is None:
            assert row["tail"]["cvar_pooled"] >= row["tail"]["cvar_separate"] - 1e-6
    code, out, _ = run(capsys, "compare", "basis-trader")
    assert code == 0 and "tail cost" in out and "do not cover its contracts" in out


def test_demo_and_rulesets_print(capsys, tmp_path) -> None:
    code, out, _ = run(capsys, "demo", "--html", str(tmp_path / "reports"))
    assert code == 0 and "crash-2026-02-05" in out and "short-vol-desk" in out
    assert len(list((tmp_path / "reports").glob("*.html"))) == 8
    assert run(capsys, "rulesets", "list")[0] == 0
    code, out, _ = run(capsys, "rulesets", "show", "deribit-pm")
    assert code == 0 and "price range" in out and "pme_doc" in out
    assert json.loads(run(capsys, "rulesets", "list", "--json")[1])
    assert (
        json.loads(run(capsys, "rulesets", "show", "paradex-pm", "--json")[1])["id"] == "paradex-pm"
    )


def test_verify_recomputes_byte_for_byte(write, tmp_path, capsys) -> None:
    _, out, _ = run(capsys, "margin", write(), "--json", "--ruleset", "deribit-pm")
    path = tmp_path / "s.json"
    path.write_text(out)
    assert run(capsys, "verify", str(path))[0] == 0
    broken = json.loads(out)
    broken["totals"]["im"] += 1
    path.write_text(json.dumps(broken))
    assert run(capsys, "verify", str(path))[0] == 1


@pytest.mark.parametrize(
    "kind",
    [
        "account",
        "market",
        "ruleset",
        "statement",
        "case",
        "book-summary",
        "ruleset-diff",
        "change",
    ],
)
def test_published_schemas_are_those_of_the_code(kind, capsys) -> None:
    folder = Path(__file__).parents[2] / "docs" / "schemas"
    assert run(capsys, "schema", kind)[1] == (folder / f"{kind}.schema.json").read_text()


def test_schemas_accept_the_demo_accounts(capsys) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    from crossmargin.venues import shipped_files

    for kind, folder in (("account", "accounts"), ("market", "markets")):
        schema = json.loads(run(capsys, "schema", kind)[1])
        for raw in shipped_files(folder).values():
            jsonschema.validate(json.loads(raw), schema)
    statement = json.loads(run(capsys, "margin", "covered-call", "--json")[1])
    jsonschema.validate(statement, json.loads(run(capsys, "schema", "statement")[1]))


def test_import_pulls_no_heavy_library() -> None:
    code = (
        "import sys, crossmargin; "
        "heavy = {'numba', 'scipy', 'polars', 'plotly', 'matplotlib', 'ccxt', 'rich', 'numpy', "
        "'sqlalchemy', 'alembic', 'sqlite3', 'psycopg'}; "
        "sys.exit(len(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_one_off_margin_starts_no_compiler() -> None:
    code = (
        "import sys; from crossmargin.cli import main; "
        "main(['margin', 'covered-call', '--json']); "
        "sys.exit('numba' in sys.modules or 'polars' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL)
    assert done.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_said_in_a_sentence() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "crossmargin", "margin", "covered-call"],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("CLI-002") and done.stderr.count("\n") == 1


def test_what_is_written_is_whole_or_not_at_all(tmp_path, capsys) -> None:
    target = tmp_path / "real.html"
    target.write_text("old")
    target.chmod(0o640)
    link = tmp_path / "link.html"
    link.symlink_to(target)
    assert run(capsys, "margin", "covered-call", "--html", str(link))[0] == 0
    assert link.is_symlink() and target.read_text().startswith("<!")
    assert target.stat().st_mode & 0o777 == 0o640
    pipe = tmp_path / "pipe.html"
    os.mkfifo(pipe)
    code, _, err = run(capsys, "margin", "covered-call", "--html", str(pipe))
    assert code == 2 and err.startswith("INP-014") and pipe.is_fifo()


def test_verify_takes_all_that_margin_writes(tmp_path, capsys) -> None:
    path = tmp_path / "s.json"
    for extra in (
        ("--at", "2026-02-27T07:45:00Z"),
        ("--ruleset", "deribit-pm", "--ruleset", "deribit-sm"),
    ):
        path.write_text(run(capsys, "margin", "covered-call", "--json", *extra)[1])
        code, out, _ = run(capsys, "verify", str(path))
        assert code == 0 and "byte for byte" in out


def test_one_refusal_does_not_silence_the_others(capsys) -> None:
    code, out, err = run(
        capsys, "margin", "covered-call", "--ruleset", "paradex-pm", "--ruleset", "deribit-pm"
    )
    assert code == 2 and "deribit-pm" in out and err.startswith("RUL-020")


def test_an_empty_market_overwrites_nothing(tmp_path, capsys) -> None:
    reply, out = tmp_path / "r.json", tmp_path / "m.json"
    out.write_text("good")
    reply.write_text('{"result": [{"instrument_name": "X", "creation_timestamp": 1770000000000}]}')
    code, _, err = run(capsys, "snapshot", str(reply), "--out", str(out))
    assert code == 2 and err.startswith("INP-034") and out.read_text() == "good"


def test_control_characters_in_a_name_are_refused(write, capsys) -> None:
    code, _, err = run(capsys, "margin", write(account="a\x1b[31m"))
    assert code == 2 and "\x1b" not in err.replace(repr("\x1b"), "")


def test_an_expired_leg_leaves_an_account_without_requirement(write, capsys) -> None:
    only = [{"instrument": "BTC-6FEB26-78000-C", "quantity": 1}]
    _, out, _ = run(
        capsys, "margin", write(positions=only), "--at", "2026-02-10T00:00:00Z", "--json"
    )
    assert json.loads(out)["statement"]["totals"]["im"] == 0


def test_margin_with_a_location_down(write, capsys) -> None:
    balances = [
        {"asset": "BTC", "amount": 3, "location": "chain-x"},
        {"asset": "USDC", "amount": 100_000},
    ]
    path = write(balances=balances)
    whole = json.loads(run(capsys, "margin", path, "--json")[1])
    code, out, _ = run(capsys, "margin", path, "--json", "--location-down", "chain-x")
    down = json.loads(out)
    assert code == 0
    price = whole["balances"][0]["price_usd"]
    lost = whole["totals"]["equity"] - down["totals"]["equity"]
    assert lost == pytest.approx(3 * price)
    assert "without what chain-x holds" in down["description"]
    code, _, said = run(capsys, "margin", path, "--location-down", "nowhere")
    assert code == 2 and "INP-016" in said and "chain-x" in said


def test_haircuts_are_listed_with_date_and_confidence(capsys) -> None:
    code, out, _ = run(capsys, "haircuts", "kraken-futures", "--asset", "btc", "--json")
    (row,) = json.loads(out)
    assert code == 0 and row["rule"] == {"schedule": {"kind": "flat", "factor": 0.97}}
    assert row["kind"] == "live" and row["confidence"] == "published" and row["source"]
    refused = json.loads(run(capsys, "haircuts", "okx", "--asset", "1INCH", "--json")[1])
    assert refused[0]["rule"] is None and "width" in refused[0]["refused"]
    old = json.loads(
        run(capsys, "haircuts", "binance", "--asset", "ENA", "--on", "2025-08-01", "--json")[1]
    )
    assert old[0]["rule"]["schedule"]["factor"] == 0.5
    for tokens, told in (
        (["nowhere"], "RUL-026"),
        (["--asset", "NOCOIN"], "RUL-026"),
        (["--on", "soon"], "INP-010"),
    ):
        code, _, said = run(capsys, "haircuts", *tokens)
        assert code == 2 and told in said


@pytest.fixture
def prices(tmp_path: Path) -> str:
    import datetime

    import numpy as np

    rng = np.random.default_rng(4)
    close = 100 * np.exp(np.cumsum(rng.standard_t(4, 500) * 0.02))
    first = datetime.date(2025, 1, 1)
    rows = [
        f"{first + datetime.timedelta(days=k)},{price:.6f},{1e6:.0f}"
        for k, price in enumerate(close)
    ]
    path = tmp_path / "prices.csv"
    path.write_text("date,close,volume\n" + "\n".join(rows) + "\n")
    return str(path)


def test_haircut_from_a_price_history(prices, tmp_path, capsys) -> None:
    page = tmp_path / "curve.html"
    tokens = ["haircut", prices, "--asset", "ABC", "--adv", "1e8", "--set", "half_spread=0.001"]
    code, out, _ = run(capsys, *tokens, "--hold", "3e7", "--plot", str(page))
    assert code == 0 and "decided by" in out and "a holding of 30,000,000.00 USD counts" in out
    plain = json.loads(run(capsys, *tokens, "--hold", "3e7", "--json")[1])
    assert plain["adv_usd"] == 1e8 and plain["returns"] == 499 and plain["from"] == "2025-01-01"
    assert plain["assumptions"]["level"] == 0.99
    cuts = [p["haircut"] for p in plain["points"]]
    assert cuts == sorted(cuts)
    assert plain["holding"]["haircut"] == pytest.approx(
        1 - plain["holding"]["counts_usd"] / 3e7, rel=1e-12
    )
    text = page.read_text()
    assert "<polyline" in text and "http" not in text.split("</style>")[1]
    past = json.loads(run(capsys, *tokens, "--history", "--json", "--plot", str(page))[1])
    assert past["history"][-1]["day"] == past["to"] and "through time" in page.read_text()
    picture = tmp_path / "curve.svg"
    assert run(capsys, *tokens, "--plot", str(picture))[0] == 0
    from xml.etree import ElementTree

    assert ElementTree.parse(picture).getroot().tag.endswith("svg")


def test_haircut_schedule_goes_into_a_rule_set(prices, write, tmp_path, capsys) -> None:
    tokens = ["haircut", prices, "--asset", "BTC", "--adv", "1e6", "--json"]
    plain = json.loads(run(capsys, *tokens)[1])
    from crossmargin.margin import load_ruleset

    made = load_ruleset(
        "deribit-pm-cross", overrides={"collateral.assets.BTC.schedule": plain["schedule"]}
    )
    schedule = made.data.collateral.assets["BTC"].schedule
    assert [t.factor for t in schedule.tiers] == [t["factor"] for t in plain["schedule"]["tiers"]]


@pytest.mark.parametrize(
    ("tokens", "told"),
    [
        (["--plot", "x.png"], "INP-013"),
        (["--plot", "x.svg"], "INP-013"),
        (["--adv", "-1"], "INP-004"),
        (["--adv", "nan"], "INP-004"),
        (["--volume-unit", "lots"], "INP-013"),
        (["--sizes", "a,b"], "INP-013"),
        (["--sizes", "-5", "--adv", "1e6"], "MRG-012"),
        (["--sizes", "1e6"], "MRG-010"),
        (["--hold", "0"], "INP-004"),
        (["--since", "2030-01-01"], "INP-003"),
        (["--since", "yesterday"], "INP-010"),
        (["--until", "2025-01-20"], "MRG-011"),
        (["--set", "level=2"], "RUL-001"),
        (["--set", "lever=2"], "RUL-001"),
        (["--depth", "nowhere.csv"], "INP-005"),
    ],
)
def test_haircut_refuses_in_a_sentence(tokens, told, prices, capsys) -> None:
    code, _, said = run(capsys, "haircut", prices, "--asset", "ABC", *tokens)
    assert code == 2 and said.startswith(told), said


def test_haircut_takes_the_volume_of_the_table(prices, capsys) -> None:
    tokens = ["haircut", prices, "--asset", "ABC", "--json", "--volume-unit"]
    assert json.loads(run(capsys, *tokens, "usd")[1])["adv_usd"] == 1e6
    coins = json.loads(run(capsys, *tokens, "coins")[1])["adv_usd"]
    assert coins > 1e6 and coins != 1e6


COMMANDS = [
    "account",
    "brackets",
    "check",
    "compare",
    "demo",
    "haircut",
    "haircuts",
    "infer",
    "limits",
    "margin",
    "prices",
    "reconcile",
    "schema",
    "snapshot",
    "tiers",
    "verify",
    "when",
]


@pytest.mark.parametrize(
    "command",
    [
        *([name] for name in COMMANDS),
        ["reconcile", "hyperliquid"],
        ["book"],
        ["book", "generate"],
        ["ledger"],
        ["ledger", "export"],
        ["ledger", "init"],
        ["ledger", "log"],
        ["ledger", "upgrade"],
        ["ledger", "verify"],
        ["rulesets", "diff"],
        ["rulesets", "list"],
        ["rulesets", "log"],
        ["rulesets", "show"],
    ],
)
def test_every_help_has_an_example(command, capsys) -> None:
    code, out, _ = run(capsys, *command, "--help")
    assert code == 0 and "Example: crossmargin " in out


@pytest.mark.parametrize(
    "command",
    [
        ["margin", "directional", "--html"],
        ["survival", "directional", "--html"],
        ["what-if", "directional", "--out"],
        ["stress", "directional", "--html"],
        ["validate", "--html"],
        ["cascade", "run", "crash", "--html"],
        ["cascade", "sweep", "crash", "--policy", "adl", "--html"],
        ["smile", "BTC", "--out"],
        ["book", "no-such-book", "--html"],
        ["ledger", "letters", "no-such-ledger", "a", "--html"],
    ],
)
def test_a_place_that_cannot_be_written_is_refused_first(command, tmp_path, capsys) -> None:
    """Before any work, and before what else is wrong."""
    for place in (tmp_path / "nowhere" / "x", tmp_path):
        code, out, err = run(capsys, *command, str(place))
        assert code == 2 and out == "" and err.startswith("INP-014") and str(place) in err


@pytest.mark.parametrize("ruleset", ["derive-pm1", "derive-pm2", "derive-srm"])
def test_a_statement_verifies_where_the_account_holds_none_of_the_numeraire(
    ruleset, tmp_path, capsys
) -> None:
    _, out, _ = run(capsys, "margin", "covered-call", "--json", "--ruleset", ruleset)
    said = json.loads(out)
    assert "USDC" not in {b["asset"] for b in said["inputs"]["account"]["balances"]}
    path = tmp_path / "s.json"
    path.write_text(out)
    assert run(capsys, "verify", str(path))[0] == 0


@pytest.mark.parametrize("move", ["nan", "-1", "-2", "0", "inf"])
def test_a_move_no_index_makes_is_refused_also_without_sources(move, capsys) -> None:
    code, out, said = run(capsys, "prices", "--move", move)
    assert code == 2 and not out and said.startswith("MKT-014")


def test_a_bad_assignment_is_named(capsys) -> None:
    code, _, said = run(
        capsys, "margin", "covered-call", "--set", "collateral.assets.BTC.haircut=1.5"
    )
    assert code == 2 and "collateral.assets.BTC.haircut" in said and "supplied" in said


def test_parameters_are_shown_in_words(capsys) -> None:
    _, out, _ = run(capsys, "rulesets", "show", "hyperliquid")
    text = " ".join(out.split())
    assert "BTC from 0: IM 2.5 %, MM 1.25 % |" in text
    for name in ("hyperliquid", "derive-pm2", "span", "okx-pm", "binance-pm"):
        _, out, _ = run(capsys, "rulesets", "show", name)
        assert "{" not in out and "None" not in out


def test_tiers_of_another_market_are_refused_with_the_reason(tmp_path, capsys) -> None:
    reply = {
        "code": "0",
        "msg": "",
        "data": [
            {
                "instId": "BTC-USDT",
                "uly": "",
                "instFamily": "",
                "tier": "1",
                "minSz": "0",
                "maxSz": "50",
                "mmr": "0.03",
                "imr": "0.1",
                "maxLever": "10",
                "optMgnFactor": "0",
                "baseMaxLoan": "50",
                "quoteMaxLoan": "500000",
            }
        ],
    }
    path = tmp_path / "tiers.json"
    path.write_text(json.dumps(reply))
    code, _, said = run(capsys, "brackets", str(path))
    assert code == 2 and "spot margin" in said


def test_health_of_several_pots_is_that_of_the_weakest(capsys) -> None:
    _, out, _ = run(capsys, "margin", "directional", "--ruleset", "deribit-sm")
    assert "health (weakest pot; 1.0 is the line)" in out
    _, out, _ = run(capsys, "margin", "directional", "--ruleset", "deribit-pm-cross")
    assert "health (equity / MM, 1.0 is the line)" in out
