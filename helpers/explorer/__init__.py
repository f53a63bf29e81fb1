"""The explorer: choose picture, network, layer, class and method, and see the map beside the numbers that check it."""

from helpers.explorer.explanation import explore, offered
from helpers.explorer.widget import explorer

__all__ = ["explore", "explorer", "offered"]
