"""The trust policy: which prices are trusted, and what is forbidden when they are not."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from crossmargin.market._figures import convert_rule, shipped_table, values_of

Positive = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, le=1)]

#: What stands in for an index that cannot be formed.
Fallback = Literal["last-good", "remaining", "any"]
#: What protect mode may forbid. Reducing risk is never forbidden.
Action = Literal["new-risk", "liquidate", "withdraw"]


class TrustPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rules of trust; every figure of the house's policy stands in ``trust_policy.toml``.

    Attributes
    ----------
    stale_after_s, mark_stale_after_s, forward_stale_after_s : float
        Age at which a source or asset price, an instrument's quote, a forward is stale.
    deviation_band : float
        A source farther than this from the median of the fresh ones is cut (relative).
    min_fresh : int
        Sources that must be fresh, sure and inside the band.
    min_share : float
        The least share of the primary sources that they must be.
    conf_filter : float
        A source is sure when its deviation is at most ``conf_filter × price`` (Mango v4).
    min_confidence : float
        A price with less confidence (0 to 1) is not trusted.
    last_good_max_age_s : float
        Oldest last good index that may stand in.
    fallback : tuple of {"last-good", "remaining", "any"}
        What stands in, in this order.
    twap_window_s, twap_divergence : float
        A price this far (relative, at equality too) from its time-weighted average is not
        trusted (Drift v2).
    basis_tau_s : float
        Time constant of the smoothed basis.
    basis_max : float
        Clamp on every observation of the basis, relative to the index.
    haircut_multiplier, haircut_addition : float
        Haircut of an untrusted asset: ``min(1, haircut × multiplier + addition)``.
    forbid : tuple of {"new-risk", "liquidate", "withdraw"}
        What protect mode forbids.
    """

    stale_after_s: Positive
    mark_stale_after_s: Positive
    forward_stale_after_s: Positive
    deviation_band: Annotated[float, Meta(gt=0, lt=1)]
    min_fresh: Annotated[int, Meta(ge=1)]
    min_share: Share
    conf_filter: Positive
    min_confidence: Share
    last_good_max_age_s: Annotated[float, Meta(ge=0)]
    fallback: tuple[Fallback, ...]
    twap_window_s: Positive
    twap_divergence: Positive
    basis_tau_s: Positive
    basis_max: Annotated[float, Meta(gt=0, lt=1)]
    haircut_multiplier: Annotated[float, Meta(ge=1)]
    haircut_addition: Share
    forbid: tuple[Action, ...]

    def widened(self, haircut: float) -> float:
        """Return the haircut of an untrusted asset: never less than given, at most 1."""
        return max(haircut, min(1.0, haircut * self.haircut_multiplier + self.haircut_addition))


class TrustEntry(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True
):
    """A trust policy in a market file: what is left out is the house's figure."""

    stale_after_s: Positive | None = None
    mark_stale_after_s: Positive | None = None
    forward_stale_after_s: Positive | None = None
    deviation_band: Annotated[float, Meta(gt=0, lt=1)] | None = None
    min_fresh: Annotated[int, Meta(ge=1)] | None = None
    min_share: Share | None = None
    conf_filter: Positive | None = None
    min_confidence: Share | None = None
    last_good_max_age_s: Annotated[float, Meta(ge=0)] | None = None
    fallback: tuple[Fallback, ...] | None = None
    twap_window_s: Positive | None = None
    twap_divergence: Positive | None = None
    basis_tau_s: Positive | None = None
    basis_max: Annotated[float, Meta(gt=0, lt=1)] | None = None
    haircut_multiplier: Annotated[float, Meta(ge=1)] | None = None
    haircut_addition: Share | None = None
    forbid: tuple[Action, ...] | None = None


@lru_cache(maxsize=1)
def default_policy() -> TrustPolicy:
    """Return the house's policy, as ``trust_policy.toml`` states it.

    Raises
    ------
    MarketDataError
        ``MKT-014`` when the file is malformed.
    """
    table = shipped_table("trust_policy.toml")
    return convert_rule(values_of(table), TrustPolicy, "trust_policy.toml")


def policy_with(changes: Mapping[str, Any]) -> TrustPolicy:
    """Return the house's policy with some figures replaced, checked.

    Raises
    ------
    MarketDataError
        ``MKT-014`` for an unknown figure or one out of range.
    """
    whole = {**msgspec.to_builtins(default_policy()), **changes}
    return convert_rule(whole, TrustPolicy, "trust policy")


def policy_from_entry(entry: TrustEntry | None) -> TrustPolicy:
    """Return the policy that a market file's ``trust`` section describes."""
    if entry is None:
        return default_policy()
    given = {k: v for k, v in msgspec.to_builtins(entry).items() if v is not None}
    return policy_with(given)


def entry_from_policy(policy: TrustPolicy) -> TrustEntry:
    """Write a policy in full, so that a statement stands by itself."""
    return msgspec.convert(msgspec.to_builtins(policy), TrustEntry)
