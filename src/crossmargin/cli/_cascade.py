"""The ``cascade`` command: what happens to everyone. Its parts register themselves here."""

from __future__ import annotations

from cyclopts import App

from crossmargin.cli._app import app

cascade_app = App(
    name="cascade",
    help="""Loop gain, simulation and replay of liquidation cascades.

    It ranks designs and scenarios; it does not forecast prices.

    Example: `crossmargin cascade gain --generate 10000 --seed 1 --depth "*=1e9"`
    """,
)
app.command(cascade_app)
