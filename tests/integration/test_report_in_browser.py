"""The HTML report in a real browser: it draws, stays silent, asks for nothing and fits.

The browser is driven through DevTools over a pipe (NUL-ended JSON on descriptors 3 and 4), so
no driver and no library is needed. The page is untouched: its own security policy holds.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crossmargin.analytics import profiles
from crossmargin.book import book_from_accounts, parse_account
from crossmargin.margin import evaluate, load_ruleset, make_statement
from crossmargin.market import snapshot_from_file
from crossmargin.market.files import AssetEntry, InstrumentEntry, MarketFile
from crossmargin.reports import render_report

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-dev-shm-usage "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--disable-extensions --no-default-browser-check --remote-debugging-pipe"
)
PATIENCE_S = 15.0

pytestmark = pytest.mark.skipif(
    BROWSER is None or shutil.which("bash") is None,
    reason="no chromium, chromium-browser or google-chrome (or no bash) on the PATH",
)


class Browser:
    """A headless browser and one page in it."""

    def __init__(self, home: Path) -> None:
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        command = (
            f"exec {shlex.quote(str(BROWSER))} {FLAGS} --user-data-dir={shlex.quote(str(home))} "
            f"about:blank 3<&{to_read} 4>&{to_write}"
        )
        self._process = subprocess.Popen(
            ["bash", "-c", command],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_read)
        os.close(to_write)
        self._pending = b""
        self._turn = 0
        self._session = ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def _message(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._pending:
            left = until - time.monotonic()
            ready, _, _ = select.select([self._read], [], [], max(left, 0.0))
            if not ready:
                raise TimeoutError("the browser did not answer in time")
            chunk = os.read(self._read, 1 << 16)
            if not chunk:
                raise ConnectionError("the browser ended")
            self._pending += chunk
        first, _, self._pending = self._pending.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        if "method" in message:
            self.events.append(message)
        return message

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._turn += 1
        request = {"id": self._turn, "method": method, "params": params}
        if self._session:
            request["sessionId"] = self._session
        os.write(self._write, json.dumps(request).encode() + b"\0")
        until = time.monotonic() + PATIENCE_S
        while (answer := self._message(until)).get("id") != self._turn:
            pass
        assert "error" not in answer, answer
        return dict(answer["result"])

    def open(self, path: Path) -> None:
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        until = time.monotonic() + PATIENCE_S
        while not any(e["method"] == "Page.loadEventFired" for e in self.events):
            self._message(until)

    def ask(self, script: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def view(self, width: int, *, dark: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="screen", features=[scheme])

    def close(self) -> None:
        os.close(self._write)
        os.close(self._read)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=10)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of a hedged account whose names are markup."""
    market = MarketFile(
        format="crossmargin-market/1",
        as_of="2026-02-25T08:00:00Z",
        assets=[
            AssetEntry(asset="BTC", price_usd=50_000.0),
            AssetEntry(asset="ETH", price_usd=2_000.0),
            AssetEntry(asset="USDC", price_usd=1.0),
        ],
        instruments=[
            InstrumentEntry(
                instrument=f"{coin}_USDC-PERPETUAL", price_mark=price, funding_rate_8h=1e-4
            )
            for coin, price in (("BTC", 50_000.0), ("ETH", 2_000.0))
        ],
    )
    account = parse_account(
        json.dumps(
            {
                "format": "crossmargin-account/1",
                "account": "<img src=x onerror=alert(1)>",
                "description": "<script>document.title='broken'</script>",
                "balances": [{"asset": "BTC", "amount": 0.4}, {"asset": "USDC", "amount": 9000}],
                "positions": [
                    {"instrument": "BTC_USDC-PERPETUAL", "quantity": 1.0, "entry_price": 49_000},
                    {"instrument": "ETH_USDC-PERPETUAL", "quantity": -12, "entry_price": 2_050},
                ],
            }
        )
    )
    snapshot = snapshot_from_file(market)
    made = [
        make_statement(account, snapshot, load_ruleset(name))
        for name in ("deribit-pm-cross", "deribit-sm-cross")
    ]
    done = evaluate(book_from_accounts([account]), snapshot, load_ruleset("deribit-pm-cross"))
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_report(made[0], profiles(done), comparison=made), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, page: Path) -> Iterator[Browser]:
    one = Browser(tmp_path_factory.mktemp("browser"))
    yield one
    one.close()


BOXES = """
JSON.stringify([...document.querySelectorAll('svg[role=img]')].map(function (chart) {
  var box = chart.getBoundingClientRect();
  return [box.width, box.height, chart.querySelectorAll('rect, polyline, line').length];
}))
"""
# Text that sticks out of its chart, or two texts of one chart that touch.
CLASHES = """
JSON.stringify([...document.querySelectorAll('svg[role=img]')].flatMap(function (chart) {
  var frame = chart.getBoundingClientRect(), found = [];
  var texts = [...chart.querySelectorAll('text')].filter(t => t.textContent).map(function (t) {
    return [t.textContent, t.getBoundingClientRect()];
  });
  texts.forEach(function (a, i) {
    if (a[1].left < frame.left - 2 || a[1].right > frame.right + 2) { found.push(a[0]); }
    texts.slice(i + 1).forEach(function (b) {
      var wide = Math.min(a[1].right, b[1].right) - Math.max(a[1].left, b[1].left);
      var high = Math.min(a[1].bottom, b[1].bottom) - Math.max(a[1].top, b[1].top);
      if (wide > 1 && high > 4) { found.push(a[0] + ' | ' + b[0]); }
    });
  });
  return found;
}))
"""


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (360, True), (2200, False)])
def test_every_chart_is_drawn_and_fits(
    browser: Browser, page: Path, width: int, dark: bool
) -> None:
    browser.view(width, dark=dark)
    browser.open(page)
    boxes = json.loads(browser.ask(BOXES))
    assert len(boxes) >= 9
    assert all(w > 200 and h > 40 and marks > 1 for w, h, marks in boxes), boxes
    assert browser.ask("document.documentElement.scrollWidth") <= width
    assert json.loads(browser.ask(CLASHES)) == []


def test_no_error_no_request_and_no_injection(browser: Browser, page: Path) -> None:
    browser.view(1280)
    browser.open(page)
    browser.ask("document.getElementById('theme').click()")
    assert browser.ask("document.title").startswith("Margin report: <img")
    assert browser.ask("document.querySelectorAll('img').length") == 0
    seen = [e["params"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    assert {p["request"]["url"].partition(":")[0] for p in seen} <= {"file", "data"}
    noise = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    assert [e for e in browser.events if e["method"] in noise] == []


def test_theme_and_keyboard(browser: Browser, page: Path) -> None:
    browser.view(1280)
    browser.open(page)
    paper = "getComputedStyle(document.body).backgroundColor"
    light = browser.ask(paper)
    assert browser.ask("document.getElementById('theme').click(); " + paper) != light
    assert browser.ask("document.getElementById('theme').click(); " + paper) == light
    browser.ask("document.querySelector('svg.waterfall').focus()")
    browser.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowDown", code="ArrowDown")
    said = browser.ask("document.getElementById('tip').textContent")
    assert said.startswith("standalone")
    browser.call("Input.dispatchKeyEvent", type="keyDown", key="Escape", code="Escape")
    assert browser.ask("document.getElementById('tip').hidden") is True
