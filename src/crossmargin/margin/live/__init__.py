"""Large books in a moving market."""

from crossmargin.margin.live._book import LiveBook
from crossmargin.margin.live._breaches import Breaches

__all__ = ["Breaches", "LiveBook"]
