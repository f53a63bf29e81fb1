"""The checkers that answer in the notebook.

``core`` is the machinery. ``diagnosis`` describes mistakes that an exercise does not know, by what stands in ``steps``,
``factors``, ``places``, ``behaviour`` and ``variants`` (with ``alternatives`` and ``changes``); ``traces`` says what a
function changes in its inputs. The other modules hold the questions, lesson by lesson.
"""

from helpers.checks.core import NotAnswered, Wrong, ask, checker, close, name_the_mistake

__all__ = ["NotAnswered", "Wrong", "ask", "checker", "close", "name_the_mistake"]
