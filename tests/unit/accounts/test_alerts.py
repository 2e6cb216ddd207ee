"""Alerts ring once at a level, clear with a margin, and are delivered or kept."""

from __future__ import annotations

import io
import json
import math
import random
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from crossmargin.accounts.alerts import Alert, Alerts, Webhook, log_alerts
from crossmargin.errors import InputError

SECOND = 1_000_000_000


def rung(alerts: Alerts, values: list[float | None]) -> list[tuple[str, float | None, int]]:
    seen = (alerts.see(k * SECOND, "a", value) for k, value in enumerate(values))
    return [(x.kind, x.level, x.severity) for x in seen if x is not None]


class TestLevels:
    def test_each_level_rings_once_on_the_way_down(self) -> None:
        assert rung(Alerts([1.5, 1.2, 1.0]), [2.0, 1.6, 1.49, 1.3, 1.19, 1.1, 0.9]) == [
            ("fell", 1.5, 1),
            ("fell", 1.2, 2),
            ("fell", 1.0, 3),
        ]

    def test_a_gap_through_several_levels_is_one_alert_at_the_lowest(self) -> None:
        assert rung(Alerts([1.5, 1.2, 1.0]), [2.0, 0.5]) == [("fell", 1.0, 3)]

    def test_a_gauge_that_trembles_at_a_level_rings_once(self) -> None:
        trembling = [2.0, *([1.49, 1.51] * 50)]
        assert rung(Alerts([1.5], cleared_by=0.05), list(trembling)) == [("fell", 1.5, 1)]

    def test_it_is_cleared_only_above_the_margin_and_rings_again_after(self) -> None:
        # 1.5 + 5 % of 1.5 = 1.575.
        values = [1.4, 1.57, 1.574, 1.575, 1.55, 1.499]
        assert rung(Alerts([1.5], cleared_by=0.05), list(values)) == [
            ("fell", 1.5, 1),
            ("recovered", 1.5, 0),
            ("fell", 1.5, 1),
        ]

    def test_levels_clear_one_by_one(self) -> None:
        found = rung(Alerts([1.5, 1.2], cleared_by=0.1), [1.0, 1.33, 1.6, 1.7])
        assert found == [("fell", 1.2, 2), ("recovered", 1.2, 1), ("recovered", 1.5, 0)]

    def test_at_a_level_is_not_under_it(self) -> None:
        assert rung(Alerts([1.5]), [1.5]) == []
        assert rung(Alerts([1.5]), [math.nextafter(1.5, 0.0)]) == [("fell", 1.5, 1)]

    def test_levels_at_and_below_zero(self) -> None:
        found = rung(Alerts([0.0, -0.5], cleared_by=0.1), [0.2, -0.01, 0.09, 0.1, -0.6])
        assert found == [("fell", 0.0, 1), ("recovered", 0.0, 0), ("fell", -0.5, 2)]

    def test_nothing_required_is_above_all(self) -> None:
        alerts = Alerts([1.5])
        alerts.see(0, "a", 1.0)
        found = alerts.see(SECOND, "a", math.inf)
        assert found is not None
        assert (found.kind, found.value) == ("recovered", None)

    def test_what_cannot_be_computed_is_said_once_and_forgets_nothing(self) -> None:
        found = rung(Alerts([1.5]), [1.0, math.nan, None, 1.0, None, 2.0])
        assert found == [
            ("fell", 1.5, 1),
            ("unknown", None, 1),
            ("unknown", None, 1),
            ("recovered", 1.5, 0),
        ]

    def test_accounts_do_not_disturb_each_other(self) -> None:
        alerts = Alerts([1.5])
        found = alerts.see_all(0, {"a": 1.0, "b": 2.0, "c": 1.2})
        assert [x.account for x in found] == ["a", "c"]
        assert [alerts.severity(x) for x in "abcd"] == [1, 0, 1, 0]

    def test_against_a_plain_second_reading(self) -> None:
        levels, margin = [2.0, 1.5, 1.1, 1.0], 0.05
        alerts, rng = Alerts(levels, cleared_by=margin), random.Random(5)
        active = dict.fromkeys(levels, False)
        value = 1.6
        for step in range(20_000):
            value = abs(value + rng.gauss(0.0, 0.05))
            alerts.see(step, "a", value)
            for level in levels:
                if value < level:
                    active[level] = True
                elif value >= level + margin * max(level, 1.0):
                    active[level] = False
            # A level that has not cleared keeps those above it, which have not either.
            assert alerts.severity("a") == sum(active.values())

    @pytest.mark.parametrize("levels", [[], [1.0, 1.0], [math.nan], [math.inf]])
    def test_levels_that_cannot_be(self, levels: list[float]) -> None:
        with pytest.raises(InputError, match="are no levels"):
            Alerts(levels)

    @pytest.mark.parametrize("margin", [-0.1, math.nan, math.inf])
    def test_margins_that_cannot_be(self, margin: float) -> None:
        with pytest.raises(InputError, match="cannot be cleared"):
            Alerts([1.0], cleared_by=margin)


def some(count: int) -> list[Alert]:
    alerts = Alerts([1.5])
    return alerts.see_all(0, {f"a{k}": 1.0 for k in range(count)})


def test_the_log_is_json_line_by_line() -> None:
    out = io.BytesIO()
    assert log_alerts(some(3), out) == 3
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [x["account"] for x in lines] == ["a0", "a1", "a2"]
    assert lines[0] == {
        "time": "1970-01-01T00:00:00Z", "account": "a0", "gauge": "health", "value": 1.0,
        "level": 1.5, "kind": "fell", "severity": 1,
    }  # fmt: skip


class TestWebhook:
    @pytest.fixture
    def server(self) -> Iterator[HTTPServer]:
        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = self.server.answers.pop(0) if self.server.answers else 204  # type: ignore[attr-defined]
                if status < 300:
                    self.server.taken += [x["account"] for x in json.loads(body)["alerts"]]  # type: ignore[attr-defined]
                self.send_response(status)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Receiver)
        server.taken, server.answers = [], []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        server.server_close()

    def test_alerts_arrive_in_order_and_in_batches(self, server: HTTPServer) -> None:
        hook = Webhook(f"http://127.0.0.1:{server.server_port}/x", batch=2)
        done = hook.send(some(5))
        assert (done.delivered, done.waiting, done.reason) == (5, (), None)
        assert server.taken == [f"a{k}" for k in range(5)]  # type: ignore[attr-defined]

    def test_what_is_refused_is_kept_and_sent_first(self, server: HTTPServer) -> None:
        server.answers = [204, 503]  # type: ignore[attr-defined]
        hook = Webhook(f"http://127.0.0.1:{server.server_port}/x", batch=2)
        done = hook.send(some(5))
        assert (done.delivered, len(done.waiting), done.reason) == (2, 3, "answered 503")
        assert hook.send([]).delivered == 3
        assert server.taken == [f"a{k}" for k in range(5)]  # type: ignore[attr-defined]

    def test_nobody_there_is_a_reason_and_no_traceback(self) -> None:
        def nobody(url: str, body: bytes, timeout_s: float) -> int:
            raise ConnectionRefusedError("refused")

        done = Webhook("https://example.org/x", post=nobody).send(some(1))
        assert (done.delivered, len(done.waiting)) == (0, 1)
        assert done.reason == "not reached: refused"

    @pytest.mark.parametrize("url", ["", "ftp://x", "file:///etc/passwd", "example.org"])
    def test_addresses_that_are_none(self, url: str) -> None:
        with pytest.raises(InputError, match="no address"):
            Webhook(url)
