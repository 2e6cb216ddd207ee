"""What prices do to accounts, to first order: the brackets of the loop gain as sparse columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.cascade.figures import numbers
from crossmargin.cascade.population import Population
from crossmargin.errors import CascadeError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Exposure:
    """Derivatives with respect to the returns of the assets, US dollars.

    Attributes
    ----------
    prices : float64[J]
        Where they are taken.
    notional : csr [A, K]
        n, signed.
    gained : csr [A, J]
        Of equity, and of a procyclical requirement: ``n + c·(1 − h) − (∂m/∂r)·|n|``.
    freed : csr [A, J]
        Of the requirement at fixed rates: ``m·|n|``, the rate of the last slice.
    slack : float64[A]
        Equity minus maintenance.
    relief : float64[A]
        Requirement freed by closing everything at the rates of the last slices.
    """

    prices: Floats
    notional: csr_matrix
    gained: csr_matrix
    freed: csr_matrix
    slack: Floats
    relief: Floats


def last_rates(population: Population, size: Floats) -> Floats:
    """Rate of the last slice of each position's notional, float64[N].

    Parameters
    ----------
    population : Population
    size : float64[N]
        |notional| of each position, US dollars.
    """
    if population.brackets is None:
        return np.asarray(population.mm_rate[population.contract])
    out = np.empty(size.size)
    order = np.argsort(population.contract, kind="stable")
    ends = np.searchsorted(population.contract[order], np.arange(len(population.brackets) + 1))
    for table, first, last in zip(population.brackets, ends[:-1], ends[1:]):
        rows = order[first:last]
        floors, rates = np.array(table.floors), np.array(table.rates)
        place = np.maximum(np.searchsorted(floors, size[rows], side="left") - 1, 0)
        out[rows] = rates[place]
    return out


def exposure_of(
    population: Population, price: ArrayLike | None = None, margin_slope: ArrayLike | None = None
) -> Exposure:
    """Work out the derivatives of a population at prices [J] (default its marks)."""
    from scipy.sparse import csr_matrix

    p = population.price if price is None else numbers("price", price, above=0.0)
    if p.shape != population.price.shape:
        raise CascadeError("a price for each asset is needed", code="CAS-001", field="price")
    accounts, k, j = population.size, len(population.contracts), len(population.assets)
    n = population.quantity * p[population.contract]
    required = last_rates(population, np.abs(n)) * np.abs(n)

    def rows(values: Floats, columns: int) -> csr_matrix:
        # A copy: scipy sorts a matrix's indices in place when it feels like it.
        return csr_matrix(
            (values, population.contract, population.start), shape=(accounts, columns), copy=True
        )

    gained = rows(n, j)
    if population.coll_asset.size:
        gained = gained + csr_matrix(
            (_counted(population, p), population.coll_asset, population.coll_start),
            shape=(accounts, j),
            copy=True,
        )
    if margin_slope is not None:
        gained = gained + rows(np.abs(n), k) @ csr_matrix(_slopes(margin_slope, k, j))
    return Exposure(
        prices=p,
        notional=rows(n, k),
        gained=gained.tocsr(),
        freed=rows(required, j),
        slack=population.equity(p) - population.maintenance(p),
        relief=np.bincount(population.account, required, minlength=accounts).astype(np.float64),
    )


def _counted(population: Population, p: Floats) -> Floats:
    """Collateral as equity counts it: after the haircut, debts whole."""
    c, asset = population.coll_quantity, population.coll_asset
    cut = np.where(c > 0, 1.0 - population.haircut[asset], 1.0)
    return np.asarray(c * p[asset] * cut)


def _slopes(margin_slope: ArrayLike, k: int, j: int) -> Floats:
    slope = numbers("margin_slope", margin_slope)
    out = np.zeros((k, j))
    if slope.shape in ((), (k,)):
        out[np.arange(k), np.arange(k)] = slope
    elif slope.shape == (k, j):
        out[:] = slope
    else:
        raise CascadeError(
            f"margin slopes of shape {slope.shape}; {k} contracts and {j} assets are there",
            code="CAS-001",
            field="margin_slope",
        )
    return out
