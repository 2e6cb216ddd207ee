"""Pictures and pages: the HTML margin report."""

from __future__ import annotations

from crossmargin.reports.html import render_report

__all__ = ["render_report"]
