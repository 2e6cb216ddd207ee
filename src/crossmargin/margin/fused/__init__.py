"""The complete requirement of many accounts in one pass."""

from __future__ import annotations

from crossmargin.margin.fused._accounts import Reasons, left_out
from crossmargin.margin.fused._holdings import Holdings, holdings_of, protected_accounts
from crossmargin.margin.fused._program import Program, compile_program
from crossmargin.margin.fused._run import Results, run_program
from crossmargin.margin.fused._shapes import NotFusable

__all__ = [
    "Holdings",
    "NotFusable",
    "Program",
    "Reasons",
    "Results",
    "compile_program",
    "holdings_of",
    "left_out",
    "protected_accounts",
    "run_program",
]
