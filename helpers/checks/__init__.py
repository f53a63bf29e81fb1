"""The checkers that answer in the notebook.

``core`` is the machinery; ``diagnosis`` and ``behaviour`` describe mistakes that an exercise does not know, and
``traces`` what a function changes in its inputs. ``predictions`` keeps the guesses, ``claims`` binds the text's numbers
to the run; the other modules hold the questions.
"""

from helpers.checks.claims import claim
from helpers.checks.core import NotAnswered, Wrong, ask, checker, close, name_the_mistake
from helpers.checks.predictions import guesses, predict

__all__ = ["NotAnswered", "Wrong", "ask", "checker", "claim", "close", "guesses", "name_the_mistake", "predict"]
