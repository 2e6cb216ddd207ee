"""A large book on several machines: Ray holds shards of it resident, the market is broadcast.

Each actor holds a run of accounts. A valuation sends the market and the rules to all of them
once, and results stream back as they are done. An actor that is lost is started again with its
shard, which it reloads from where it came; the bytes of the outcome are those of one machine.

Source: performance notes of the house, section 7: a shard of a million accounts is tens of
milliseconds of work, so actors hold many and only the market travels.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import CompactBook, catalogue_of, read_compact
from crossmargin.errors import CrossmarginError, InputError, MarginError
from crossmargin.margin._exact_sum import ExactSums
from crossmargin.margin.at_scale import (
    EQUITY,
    EQUITY_IM,
    HEALTH,
    IM,
    MM,
    PROTECTED,
    BookColumns,
    Engine,
    columns_of,
    evaluate_compact,
)
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import Snapshot

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Shards begin at multiples of so many accounts: totals are added up in such chunks.
GRAIN = 8_192
#: How often one shard is started again before its loss is taken for good.
RESTARTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardOutcome:
    """What comes back of one shard.

    Attributes
    ----------
    columns : float64[6, A]
        Equity, equity at the initial level, IM, MM, health, protected.
    account, cause : int64[K]
        Accounts (of the shard) that share causes, and the causes.
    errors, more : dict of int to CrossmarginError
        By cause; by account.
    sums : ExactSums
        Totals by component.
    engine : str
        What computed it.
    """

    columns: Floats
    account: Ints
    cause: Ints
    errors: dict[int, CrossmarginError]
    more: dict[int, CrossmarginError]
    sums: ExactSums
    engine: str


def shard_outcome(columns: BookColumns) -> ShardOutcome:
    """Pack the outcome of a shard for the way back."""
    from crossmargin.margin.fused import Reasons

    table = np.empty((6, columns.equity.size))
    for row, values in (
        (EQUITY, columns.equity),
        (EQUITY_IM, columns.equity_im),
        (IM, columns.im),
        (MM, columns.mm),
        (HEALTH, columns.health),
        (PROTECTED, columns.protected),
    ):
        table[row] = values
    none = np.empty(0, dtype=np.int64)
    failures = columns.failures
    account, cause, errors, more = (
        failures.columns() if isinstance(failures, Reasons) else (none, none, {}, dict(failures))
    )
    return ShardOutcome(
        columns=table,
        account=account,
        cause=cause,
        errors=errors,
        more=more,
        sums=columns.sums,
        engine=columns.engine,
    )


def joined(book: CompactBook, first: list[int], outcomes: list[ShardOutcome]) -> BookColumns:
    """Put shards together again: the same bytes as the whole book in one piece.

    Parameters
    ----------
    book : CompactBook
        The whole book, for names.
    first : list of int
        First account of each shard.
    outcomes : list of ShardOutcome
        In the same order.
    """
    from crossmargin.margin.fused import Reasons

    sums = ExactSums()
    for one in outcomes:
        sums.merge(one.sums)
    errors = {k: e for one in outcomes for k, e in one.errors.items()}
    more = {at + k: e for at, one in zip(first, outcomes) for k, e in one.more.items()}
    table = np.concatenate([one.columns for one in outcomes], axis=1)
    engine = outcomes[0].engine
    account = np.concatenate([at + one.account for at, one in zip(first, outcomes)])
    cause = np.concatenate([one.cause for one in outcomes])
    failures = Reasons(book.name, account, cause, errors, more) if engine == "fused" else more
    return columns_of(table, failures, sums, engine)


class Shard:
    """Some accounts, resident where they are computed.

    Parameters
    ----------
    source : str, Path or CompactBook
        A folder that every machine can read, or the accounts themselves.
    first, last : int
        Its regular accounts of a folder; ignored for accounts.
    catalogue : (int64[...], int64[...])
        Instruments and assets of the whole book.
    """

    def __init__(
        self, source: str | Path | CompactBook, first: int, last: int, catalogue: tuple[Ints, Ints]
    ) -> None:
        if isinstance(source, CompactBook):
            self._book = source
        else:
            self._book = read_compact(source).book.part(first, last)
        self._catalogue = catalogue_of(self._book.registry, *catalogue)

    def size(self) -> int:
        """Return the number of accounts; also how one learns that the shard is there."""
        return self._book.size

    def evaluate(
        self, snapshot: Snapshot, ruleset: Ruleset, threads: int, engine: Engine
    ) -> ShardOutcome:
        """Value the accounts in a market."""
        return shard_outcome(
            evaluate_compact(
                self._book,
                snapshot,
                ruleset,
                threads=threads,
                engine=engine,
                catalogue=self._catalogue,
            )
        )


def _require_listening(address: str | None) -> None:
    """See that something answers at ``host:port``: Ray itself would try for many minutes.

    Raises
    ------
    OSError
        When nothing does within a few seconds.
    """
    host, sign, port = (address or "").removeprefix("ray://").rpartition(":")
    if sign and host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=5.0).close()


def _ray() -> Any:
    """Import Ray, or say how to get it."""
    try:
        import ray
    except ImportError:
        raise MarginError(
            "a cluster needs Ray, which is not installed",
            code="MRG-031",
            field="cluster",
            hint="install the extra: pip install 'crossmargin[cluster]'",
        ) from None
    return ray


class ClusterBook:
    """A large book spread over the actors of a Ray cluster.

    Parameters
    ----------
    source : str, Path or CompactBook
        A folder of a book that every machine can read (shared storage), or a book in memory,
        whose shards then travel once.
    address : str, optional
        Of a running cluster (``"auto"``, ``"host:6379"``, ``"ray://…"``); by default one is
        started on this machine.
    workers : int
        Shards.
    threads : int
        Threads of each worker.

    Examples
    --------
    ``with ClusterBook("book", address="auto", workers=8) as book: book.evaluate(market, rules)``
    """

    def __init__(
        self,
        source: str | Path | CompactBook,
        *,
        address: str | None = None,
        workers: int = 2,
        threads: int = 1,
    ) -> None:
        if workers < 1:
            raise InputError(
                f"a cluster of {workers} workers",
                code="INP-004",
                field="workers",
                hint="at least one worker is needed",
            )
        self._ray = _ray()
        self._started = not self._ray.is_initialized()
        if self._started:
            self._connect(address)
        self._threads = threads
        self.book = source if isinstance(source, CompactBook) else read_compact(source).book
        self._source = source
        self._catalogue = (self.book.instruments_used(), self.book.assets_used())
        self._bounds = shard_bounds(self.book.regular, workers)
        self._actor = self._ray.remote(max_restarts=0)(Shard)
        self._actors = [self._start(k) for k in range(len(self._bounds))]
        self.restarted = 0

    def _connect(self, address: str | None) -> None:
        try:
            _require_listening(address)
            self._ray.init(
                address=address,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
            )
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            raise MarginError(
                f"no Ray cluster answers at {address!r}: {str(error).splitlines()[0]}",
                code="MRG-031",
                field="cluster",
                hint="start one with `ray start --head`, and give its address",
            ) from None

    def _start(self, shard: int) -> Any:
        first, last = self._bounds[shard]
        source: Any = self._source
        if isinstance(source, CompactBook):
            source = self._ray.put(source.part(first, last))
        else:
            source = str(Path(source).resolve())
        return self._actor.options(num_cpus=self._threads).remote(
            source, first, last, self._catalogue
        )

    def evaluate(
        self,
        snapshot: Snapshot,
        ruleset: Ruleset,
        *,
        engine: Engine = "auto",
        progress: Callable[[int, int], None] | None = None,
    ) -> BookColumns:
        """Value the whole book.

        Parameters
        ----------
        snapshot, ruleset
            Sent to every worker once.
        engine : {"auto", "fused", "vectorised"}
            As for :func:`~crossmargin.margin.at_scale.evaluate_compact`.
        progress : callable, optional
            Called with accounts done and accounts in all as shards come back.

        Raises
        ------
        MarginError
            ``MRG-031`` when a shard is lost more than ``RESTARTS`` times, ``MRG-032`` for a
            rule-set that charges an owner for all accounts together.
        """
        if ruleset.by_owner:
            raise MarginError(
                f"rule-set {ruleset.id!r} charges an owner for all accounts together, which a "
                "shard does not see",
                code="MRG-032",
                field="cluster",
                hint="compute the book on one machine",
            )
        market, rules = self._ray.put(snapshot), self._ray.put(ruleset)
        waiting = {
            actor.evaluate.remote(market, rules, self._threads, engine): shard
            for shard, actor in enumerate(self._actors)
        }
        outcomes: dict[int, ShardOutcome] = {}
        lost = dict.fromkeys(range(len(self._actors)), 0)
        done = 0
        while waiting:
            ready, _ = self._ray.wait(list(waiting), num_returns=1)
            shard = waiting.pop(ready[0])
            try:
                outcomes[shard] = self._ray.get(ready[0])
            except self._ray.exceptions.RayActorError:
                lost[shard] += 1
                if lost[shard] > RESTARTS:
                    raise MarginError(
                        f"the worker of accounts {self._bounds[shard]} was lost "
                        f"{lost[shard]} times",
                        code="MRG-031",
                        field="cluster",
                        hint="see the logs of the cluster: most often its memory is too small",
                    ) from None
                self.restarted += 1
                self._actors[shard] = self._start(shard)
                again = self._actors[shard].evaluate.remote(market, rules, self._threads, engine)
                waiting[again] = shard
                continue
            done += outcomes[shard].columns.shape[1]
            if progress is not None:
                progress(done, self.book.size)
        first = [low for low, _ in self._bounds]
        return joined(self.book, first, [outcomes[k] for k in range(len(first))])

    def workers(self) -> list[int]:
        """Return the number of accounts of each worker, once all are there."""
        return list(self._ray.get([actor.size.remote() for actor in self._actors]))

    def close(self) -> None:
        """Give the workers back, and the cluster if it was started here."""
        for actor in self._actors:
            self._ray.kill(actor)
        self._actors = []
        if self._started:
            self._ray.shutdown()

    def __enter__(self) -> ClusterBook:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def shard_bounds(accounts: int, workers: int) -> list[tuple[int, int]]:
    """Cut accounts into shards of about one size that begin at multiples of ``GRAIN``."""
    grains = -(-accounts // GRAIN) or 1
    workers = min(workers, grains)
    cuts = [min(accounts, grains * k // workers * GRAIN) for k in range(workers)]
    return list(zip(cuts, [*cuts[1:], accounts]))
