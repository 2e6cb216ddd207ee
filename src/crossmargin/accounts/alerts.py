"""Alerts on distance to liquidation: levels with hysteresis, a log, a webhook.

An alert is raised when the gauge (health, or any distance that is smaller the nearer the line is)
falls below a level, and taken back only when it stands above the level by a margin: a gauge that
trembles at a level rings once. Source: requirements row B06 (gauges that users watch to act before
the engine does); levels and margin are the user's, the defaults are the house's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Literal

import msgspec

from crossmargin.errors import InputError
from crossmargin.units import format_time

#: Health levels at which the house warns, and by how much a level must be exceeded to be cleared.
LEVELS: tuple[float, ...] = (1.5, 1.2, 1.05, 1.0)
CLEARED_BY = 0.05


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One crossing of a level.

    Attributes
    ----------
    time : str
        ISO-8601.
    account : str
        Account, or account and pot.
    gauge : str
        What is measured, for example ``health``.
    value : float or None
        Where it stands; None where it cannot be computed (`kind` is then ``unknown``).
    level : float or None
        The lowest level that it is under now, or was under when it recovered above all of them.
    kind : {"fell", "recovered", "unknown"}
        Which way.
    severity : int
        How many levels it is under: 0 is none.
    """

    time: str
    account: str
    gauge: str
    value: float | None
    level: float | None
    kind: Literal["fell", "recovered", "unknown"]
    severity: int


@dataclass(slots=True)
class _Standing:
    severity: int = 0
    known: bool = True


class Alerts:
    """Levels, and how many of them each account is under.

    Parameters
    ----------
    levels : sequence of float
        Finite, all different; an account is under a level when its gauge is less.
    cleared_by : float
        A level is cleared when the gauge is at least ``level + cleared_by · max(|level|, 1)``.
    gauge : str
        Name of what is measured.

    Raises
    ------
    InputError
        ``INP-004`` for levels or a margin that cannot be.
    """

    def __init__(
        self,
        levels: Sequence[float] = LEVELS,
        *,
        cleared_by: float = CLEARED_BY,
        gauge: str = "health",
    ) -> None:
        self.levels = tuple(sorted((float(x) for x in levels), reverse=True))
        finite = all(math.isfinite(x) for x in self.levels)
        if not self.levels or not finite or len(set(self.levels)) < len(self.levels):
            raise InputError(
                f"{list(levels)} are no levels",
                code="INP-004",
                field="levels",
                hint="give one or more different finite numbers, for example 1.5, 1.2, 1.05",
            )
        if not (math.isfinite(cleared_by) and cleared_by >= 0):
            raise InputError(
                f"a level cannot be cleared by {cleared_by:g}",
                code="INP-004",
                field="cleared_by",
                hint="0 or more; 0.05 is five hundredths",
            )
        self.gauge = gauge
        self._clear = tuple(x + cleared_by * max(abs(x), 1.0) for x in self.levels)
        self._standing: dict[str, _Standing] = {}

    def see(self, time_ns: int, account: str, value: float | None) -> Alert | None:
        """Take a reading of one account; return the alert it gives, if any.

        Parameters
        ----------
        time_ns : int
            When.
        account : str
            Whose.
        value : float or None
            The gauge. None and NaN mean *cannot be computed*: that is said once, and what was
            known stays. Infinity (nothing required) is above every level.
        """
        stands = self._standing.setdefault(account, _Standing())
        if value is None or math.isnan(value):
            if not stands.known:
                return None
            stands.known = False
            return self._alert(time_ns, account, None, None, "unknown", stands.severity)
        stands.known = True
        before = stands.severity
        under = sum(value < level for level in self.levels)
        # Levels are cleared from the lowest up: each needs its margin.
        held = sum(value < level for level in self._clear)
        now = max(under, min(before, held))
        if now == before:
            return None
        stands.severity = now
        level = self.levels[now - 1] if now > before else self.levels[now]
        kind: Literal["fell", "recovered"] = "fell" if now > before else "recovered"
        return self._alert(time_ns, account, value, level, kind, now)

    def see_all(self, time_ns: int, readings: Mapping[str, float | None]) -> list[Alert]:
        """Take one reading of many accounts; return their alerts, in the order given."""
        found = (self.see(time_ns, account, value) for account, value in readings.items())
        return [alert for alert in found if alert is not None]

    def severity(self, account: str) -> int:
        """How many levels an account is under."""
        found = self._standing.get(account)
        return 0 if found is None else found.severity

    def _alert(
        self,
        time_ns: int,
        account: str,
        value: float | None,
        level: float | None,
        kind: Literal["fell", "recovered", "unknown"],
        severity: int,
    ) -> Alert:
        return Alert(
            time=format_time(time_ns),
            account=account,
            gauge=self.gauge,
            # JSON has no infinity: nothing is required, so there is no number.
            value=value if value is None or math.isfinite(value) else None,
            level=level,
            kind=kind,
            severity=severity,
        )


def log_alerts(alerts: Iterable[Alert], to: IO[bytes]) -> int:
    """Write alerts as JSON, one a line; return how many."""
    count = 0
    for alert in alerts:
        to.write(msgspec.json.encode(alert) + b"\n")
        count += 1
    return count


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a batch of alerts.

    Attributes
    ----------
    delivered : int
        Alerts that the receiver took.
    waiting : tuple of Alert
        Those that it did not; they are sent first the next time.
    reason : str or None
        Why not.
    """

    delivered: int
    waiting: tuple[Alert, ...]
    reason: str | None


class Webhook:
    """Sends alerts to a URL as JSON; what is not taken is kept and sent again.

    Each post is ``{"alerts": [...]}``. A receiver takes a post by an answer of 200 to 299; it may
    see an alert twice (when its answer was lost) and never loses one while this object lives.

    Parameters
    ----------
    url : str
        ``http://`` or ``https://``.
    timeout_s : float
        For one post.
    batch : int
        Alerts of a post at most.
    post : callable, optional
        ``post(url, body, timeout_s) -> status``, for tests and other transports.

    Raises
    ------
    InputError
        ``INP-013`` for another kind of URL.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 5.0,
        batch: int = 100,
        post: Callable[[str, bytes, float], int] | None = None,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise InputError(
                f"{url!r} is no address to send alerts to",
                code="INP-013",
                field="webhook",
                hint="write it like https://example.org/alerts",
            )
        self._url, self._timeout_s, self._batch = url, timeout_s, batch
        self._post = _post if post is None else post
        self._waiting: list[Alert] = []

    def send(self, alerts: Iterable[Alert]) -> Delivery:
        """Send what waits and these; stop at the first post that is not taken."""
        self._waiting.extend(alerts)
        delivered = 0
        while self._waiting:
            some = self._waiting[: self._batch]
            body = msgspec.json.encode({"alerts": some})
            try:
                status = self._post(self._url, body, self._timeout_s)
            except OSError as error:
                return Delivery(delivered, tuple(self._waiting), f"not reached: {error}")
            if not 200 <= status < 300:
                return Delivery(delivered, tuple(self._waiting), f"answered {status}")
            del self._waiting[: len(some)]
            delivered += len(some)
        return Delivery(delivered, (), None)


def _post(url: str, body: bytes, timeout_s: float) -> int:
    """Post JSON; return the status, whatever it is."""
    from urllib import error, request

    asked = request.Request(url, data=body, headers={"Content-Type": "application/json"})
    try:
        with request.urlopen(asked, timeout=timeout_s) as answer:
            return int(answer.status)
    except error.HTTPError as refused:
        return int(refused.code)
