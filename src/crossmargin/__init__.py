"""Cross margin for crypto derivatives: compute, explain, compare and stress a whole account."""

from __future__ import annotations

__version__ = "0.5.0"
__all__ = ["__version__"]
