"""The checkers that answer in the notebook: ``core`` is the machinery, other modules hold the questions."""

from helpers.checks.core import NotAnswered, Wrong, ask, checker, close, name_the_mistake, predict

__all__ = ["NotAnswered", "Wrong", "ask", "checker", "close", "name_the_mistake", "predict"]
