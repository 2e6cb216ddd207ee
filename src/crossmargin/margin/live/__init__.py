"""Large books in a moving market."""

from crossmargin.margin.live._book import Breaches, LiveBook

__all__ = ["Breaches", "LiveBook"]
