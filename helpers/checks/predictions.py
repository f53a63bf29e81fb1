"""Predict-first questions: a guess before the picture, the answer after it, both side by side at the lesson's end."""

import re
from collections.abc import Mapping

_ANSWERED: dict[str, tuple[str | None, str]] = {}  # the right answer in words: the letter guessed, the right one


def predict(guess: str, right: str, why: Mapping[str, str]) -> None:
    """Answer a predict-first question with the explanation of the guessed letter and of the right one.

    Never raises. The guess is kept for :func:`guesses`. ``why`` explains each letter; in ``guess``, ``"?"`` is no
    guess, " B " and "(b)" are "b".
    """
    found = re.search(r"\b[a-z]\b", str(guess).lower())
    letter = found.group() if found else None
    answer = f"({right}) {why.get(right, '')}".rstrip()
    _ANSWERED[answer] = (letter if letter in why else None, right)
    if letter == right:
        print(f"Right: {answer}")
    elif letter in why:
        print(f"You said ({letter}) {why[letter]}\nThe answer is {answer}")
    elif guess is None or guess is ... or str(guess).strip() in ("", "?"):
        print(f"No guess yet; a wrong guess teaches more than none. The answer follows.\n{answer}")
    else:
        print(f"{guess!r} is none of {', '.join(why)}; write one of them and run the cell again.")


def guesses() -> None:
    """Print every guess of this lesson beside what came out; a question without a guess counts for nothing."""
    for number, (answer, (letter, _)) in enumerate(_ANSWERED.items(), 1):
        print(f"{number}. You said {f'({letter})' if letter else 'nothing'}; it is {answer}")
    made = [letter == right for letter, right in _ANSWERED.values() if letter]
    print(f"{sum(made)} of {len(made)} guesses right." if made else "No guesses: write some, and run the lesson again.")
