"""Reading a folder of recorded accounts: positions, values, markets, and prices in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crossmargin.cascade.depth_basis import ContractDepth, contract_depth
from crossmargin.cascade.fragility import Move
from crossmargin.cascade.recorded import RecordedPopulation, population_from_records, snapshot_at
from crossmargin.cascade.replay import PathOfPrices, Replay, replay_records
from crossmargin.errors import InputError
from crossmargin.liquidation import Brackets
from crossmargin.margin import Ruleset
from crossmargin.margin.components import RateMargin
from crossmargin.venues import PositionRecords, read_hyperliquid_positions
from crossmargin.venues.hyperliquid_leaderboard import (
    ACCOUNTS_FILE,
    MARKETS_FILE,
    AccountValues,
    MarketList,
    read_hyperliquid_accounts,
    read_hyperliquid_markets,
)
from crossmargin.venues.hyperliquid_recorded import POSITIONS_FILE

if TYPE_CHECKING:
    import polars as pl

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

PATH_FILE = "binance_perp_crash_windows.parquet"

#: What a venue of thousands calls a coin that another counts one by one; only ratios are used.
_THOUSANDS = "1000"
_MINUTES = {"m": 1, "h": 60, "d": 1440}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFolder:
    """What a folder of recordings holds.

    Attributes
    ----------
    records : PositionRecords
    values : AccountValues or None
        None where the folder has no such file; so for the next.
    markets : MarketList or None
    brackets : dict of str to Brackets
        Maintenance by coin: the rule-set's where it lists the coin, else one bracket at half of
        one over the venue's max leverage.
    """

    records: PositionRecords
    values: AccountValues | None
    markets: MarketList | None
    brackets: dict[str, Brackets]

    def population(self, at_ns: int) -> RecordedPopulation:
        """Return the population of the first snapshot at or after a moment."""
        from dataclasses import replace

        place = snapshot_at(self.records, at_ns)
        when = int(self.records.moments_ns[place])
        values = {} if self.values is None else self.values.at(when)
        made = population_from_records(self.records, place, self.brackets, values=values)
        return replace(
            made,
            coverage=replace(
                made.coverage,
                unobtained=self._unobtained(when),
                market_share=self._market_share(made, when),
            ),
        )

    def volume(self, at_ns: int) -> dict[str, float]:
        """Return the daily volume of coins, US dollars, from the nearest list; empty for none."""
        if self.markets is None:
            return {}
        near = self.markets.nearest(at_ns)
        return dict(zip(near.coin, near.volume_day.tolist()))

    def depth(self, made: RecordedPopulation, supplied: Mapping[str, float]) -> ContractDepth:
        """Return a depth for each contract of a population."""
        return contract_depth(
            made.population.contracts,
            supplied=supplied,
            volume=self.volume(made.coverage.moment_ns),
        )

    def replay(
        self,
        times_ns: Sequence[int],
        *,
        depth: Mapping[str, float] | None = None,
        path: str | Path | None = None,
        contracts: int = 5,
        moves: Sequence[Move] = (-0.2, -0.1, 0.1, 0.2),
    ) -> Replay:
        """Replay a fall; see :func:`crossmargin.cascade.replay.replay_records`."""
        values = {}
        if self.values is not None:
            for when in self.records.moments_ns.tolist():
                values[int(when)] = self.values.at(int(when))
        prices = None if path is None else read_price_path(path, self.records.coins)
        return replay_records(
            self.records,
            self.brackets,
            times_ns,
            values=values,
            depth=depth,
            volume=self.volume(times_ns[0]),
            path=prices,
            contracts=contracts,
            moves=moves,
        )

    def _unobtained(self, when: int) -> int:
        if self.values is None:
            return 0
        mine = self.values.moment_ns == when
        return int((self.values.positions[mine] == 0).sum())

    def _market_share(self, made: RecordedPopulation, when: int) -> dict[str, float]:
        if self.markets is None:
            return {}
        near = self.markets.nearest(when)
        if int(near.moment_ns[0]) != when:
            return {}
        whole = dict(zip(near.coin, near.open_interest.tolist()))
        p = made.population
        longs = (
            np.bincount(p.contract, np.maximum(p.quantity, 0.0), minlength=len(p.contracts))
            * p.price
        )
        return {
            coin: float(usd) / whole[coin]
            for coin, usd in zip(p.contracts, longs)
            if whole.get(coin, 0.0) > 0
        }


def read_recorded_folder(folder: str | Path, ruleset: Ruleset) -> RecordedFolder:
    """Read the recorded files of a folder.

    Parameters
    ----------
    folder : str or Path
        Holds positions (Parquet), and may hold account values (Parquet) and markets (CSV), under
        the names they were recorded with.
    ruleset : Ruleset
        Whose marginal brackets hold for the coins it lists.

    Raises
    ------
    InputError
        ``INP-005`` without positions, and what the readers say.
    """
    base = Path(folder)
    records = read_hyperliquid_positions(base / POSITIONS_FILE)
    values = base / ACCOUNTS_FILE
    markets = base / MARKETS_FILE
    listed = read_hyperliquid_markets(markets) if markets.exists() else None
    return RecordedFolder(
        records=records,
        values=read_hyperliquid_accounts(values) if values.exists() else None,
        markets=listed,
        brackets=brackets_of(ruleset, listed, records.coins),
    )


def brackets_of(
    ruleset: Ruleset, markets: MarketList | None, coins: Sequence[str]
) -> dict[str, Brackets]:
    """Return maintenance brackets by coin.

    MM is half of the initial rate at max leverage (Hyperliquid documentation,
    trading/margin-tiers: published).
    """
    found: dict[str, Brackets] = {}
    if markets is not None:
        for coin, top in zip(markets.coin, markets.max_leverage.tolist()):
            found[coin] = Brackets((0.0,), (0.5 / top,))
    for part in ruleset.data.components:
        if isinstance(part, RateMargin) and part.scheme == "marginal":
            for coin in coins:
                tiers = part.tiers.get(coin.upper()) or part.tiers.get("default")
                if tiers:
                    found[coin] = Brackets(
                        tuple(t.floor for t in tiers), tuple(t.mm for t in tiers)
                    )
    return found


def read_price_path(path: str | Path, coins: Sequence[str]) -> PathOfPrices:
    """Read candles (Parquet: symbol, date of opening, close, and perhaps interval).

    Of several intervals of a coin the shortest is taken. A close holds from the end of its candle.
    Symbols are a coin and its quote currency, ``BTCUSDT``; a leading ``1000`` is dropped.

    Raises
    ------
    InputError
        ``INP-005`` when the file cannot be read, ``INP-003`` for a missing column, ``INP-034``
        when it has none of the coins.
    """
    import polars as pl

    name = f"prices {Path(path).name!r}"
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        raise InputError(f"cannot read {name}", code="INP-005", hint="check the path") from None
    for column in ("symbol", "date", "close"):
        if column not in frame.columns:
            raise InputError(f"{name} have no column {column!r}", code="INP-003", field=column)
    known = {coin.upper().removeprefix("K") if coin[:1] == "k" else coin: coin for coin in coins}
    series: dict[str, tuple[Ints, Floats]] = {}
    for symbol in sorted(set(frame["symbol"].cast(pl.String))):
        coin = known.get(symbol.removeprefix(_THOUSANDS).removesuffix("USDT"))
        if coin is not None:
            series[coin] = _series(frame.filter(pl.col("symbol").cast(pl.String) == symbol))
    if not series:
        raise InputError(f"{name} have none of the coins", code="INP-034", field="symbol")
    times = np.unique(np.concatenate([t for t, _ in series.values()]))
    closes = {}
    for coin, (t, close) in series.items():
        whole = np.full(times.size, np.nan)
        whole[np.searchsorted(times, t)] = close
        closes[coin] = whole
    first = "BTC" if "BTC" in closes else min(closes)
    return PathOfPrices(time_ns=times, close=closes, reference=first)


def _series(frame: pl.DataFrame) -> tuple[Ints, Floats]:
    import polars as pl

    minutes = 0
    if "interval" in frame.columns:
        lengths = {str(x): _length(str(x)) for x in set(frame["interval"])}
        finest = min(lengths, key=lambda x: lengths[x])
        minutes = lengths[finest]
        frame = frame.filter(pl.col("interval").cast(pl.String) == finest)
    frame = frame.unique("date").sort("date")
    times = frame["date"].cast(pl.Datetime("ns", "UTC")).cast(pl.Int64).to_numpy()
    if not minutes and times.size > 1:
        minutes = int(np.median(np.diff(times)) // 60_000_000_000)
    return times + minutes * 60_000_000_000, frame["close"].cast(pl.Float64).to_numpy()


def _length(interval: str) -> int:
    count, unit = interval[:-1], interval[-1:]
    if not count.isdigit() or unit not in _MINUTES:
        raise InputError(
            f"{interval!r} is no length of a candle", code="INP-003", field="interval", hint="15m"
        )
    return int(count) * _MINUTES[unit]
