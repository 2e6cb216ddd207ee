"""Pictures and pages: the HTML margin report, the haircut curve."""

from __future__ import annotations

from crossmargin.reports.haircut import haircut_page, haircut_picture
from crossmargin.reports.html import render_report

__all__ = ["haircut_page", "haircut_picture", "render_report"]
