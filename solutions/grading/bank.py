"""Questions that an instructor keeps outside of the course: a bank of them, in a file that students never see.

What is public is known: whoever has this course can compute the answers to its own questions. The questions of a bank
are as secret as its file. It is written in TOML; ``docs/teaching.md`` shows one, and this is all that it may hold::

    take = 1               # how many of its questions an exam asks; all of them without this line
    leave_out = ["q1"]     # questions of the course, of q1, q2 and q3, that the exam does not ask

    [[question]]
    name = "brightness"    # of its column in the table of grades
    title = "how bright is it?"
    text = "Compute the mean of picture <<picture>> of `x`. **Answer:** `mean`, a number."
    draw = { picture = [0, 1, 2, 3, 4, 5] }    # the seed takes one value of each list and puts it where <<picture>> is
    solution = "mean = x[<<picture>>].mean()"  # code that goes on after the exam's first cells
    answers = { mean = 0.01 }                  # variables, and how far they may be off: a share of the largest value
    mistakes = { "this is the sum." = "mean = x[<<picture>>].sum()" }  # hint, and code that makes the mistake
    free_text = "reason"   # a variable for a text, which a person reads; then also:
    rubric = ["what level 0 says", "level 1", "level 2", "level 3"]

An answer is a number, a tensor, or a word or whole number that has to be exact. ``draw``, ``mistakes``, ``free_text``
and ``rubric`` may be left away.
"""

import math
import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from grading.parts import Part
from helpers.checks import Wrong, checker, name_the_mistake

NEEDED = {"name": str, "title": str, "text": str, "solution": str, "answers": dict}
OTHERS = {"draw": dict, "mistakes": dict, "free_text": str, "rubric": list}
PUBLIC = ("q1", "q2", "q3")  # may be left out; q4, the judgement, is part of every exam
# names that the exam's own cells bind
TAKEN = {*"x x_marked classes exam data net form titles FORMS torch load_file attribution evaluation".split()}
TAKEN |= {*"plotting shapes ShapesResNet load_classifier display peak value fell on_watermark on_object".split()}
TAKEN |= {*"deleted named meaning other_class adds_up removed one believe decides why".split()}
COLUMNS = ("name", "file", "total", "version")  # that the table of grades has besides
# a line of the file that holds an exam's seed: bank = FILE, or "bank": "FILE",
BANK = re.compile(r"""^\s*["']?bank["']?\s*[:=]\s*["']?(.+?)["']?,?\s*(?:\s#.*)?$""", re.M)
LEVELS = 4


class Question(NamedTuple):
    """A question of a bank, with its choices made.

    Attributes:
        name: of its column in the table.
        title: of its heading.
        text: what is asked.
        solution: code that computes the answers.
        answers: right ones by their variables, and how far they may be off.
        mistakes: hints, each with wrong answers by their variables.
        free_text: a variable, or "".
        rubric: what a text says that is on level 0, 1, 2, 3.
    """

    name: str
    title: str
    text: str
    solution: str
    answers: dict[str, tuple[Any, float]]
    mistakes: dict[str, dict[str, Any]]
    free_text: str
    rubric: tuple[str, ...]

    def parts(self) -> list[Part]:
        """Return what scores in it."""
        names = tuple(self.answers)

        @checker
        def check(*given: Any) -> str:
            for name, one in zip(names, given, strict=True):
                right, tolerance = self.answers[name]
                known = {hint: wrong[name] for hint, wrong in self.mistakes.items() if name in wrong}
                if isinstance(right, str | bool | int):
                    if isinstance(one, Tensor | np.ndarray | np.generic) and math.prod(one.shape) == 1:
                        one = one.item()
                    if not isinstance(one, str if isinstance(right, str) else int | float):
                        raise Wrong(f"{name} is {'a word' if isinstance(right, str) else 'a whole number'}.")
                    if one != right:
                        hints = [hint for hint, wrong in known.items() if np.array_equal(one, wrong)]
                        raise Wrong(hints[0] if hints else f"{name} is another one.")
                else:
                    name_the_mistake(one, known, right, tolerance, what=name)
            return f"{' and '.join(names)}."

        texts = (self.free_text,) if self.free_text else ()
        return [Part(self.name, f"form({names[0]}=", check, names, texts=texts)]


class Asked(NamedTuple):
    """What an exam takes from a bank: questions, and which of the course's own it leaves out; ``known``: its text."""

    questions: tuple[Question, ...] = ()
    leave_out: tuple[str, ...] = ()
    known: str = ""


NOTHING = Asked()


def named_in(secret: Path) -> Path | None:
    """Return the bank that a file with an exam's seed names, ``bank = FILE``, as seen from its folder, or None."""
    try:
        found = BANK.findall(secret.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError):
        return None
    return secret.parent / found[-1] if found else None


def asked(file: Path | None, names: dict[str, Any], numbers: np.random.Generator) -> Asked:
    """Return what an exam takes from a bank.

    Args:
        file: the bank, or None for no bank.
        names: what the exam's first cells bind, for the code of the questions.
        numbers: random numbers of the exam's seed, for the choices.

    Raises:
        ValueError: the bank cannot be read, or something in it is not as it should be; says what and where.
    """
    if file is None:
        return NOTHING
    try:
        text = file.read_text(encoding="utf-8-sig")
        bank = tomllib.loads(text)
    except OSError as error:
        raise ValueError(f"The bank {file} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise ValueError(f"The bank {file} is no text in UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"The bank {file} is no TOML: {error}.") from None
    questions = bank.get("question")
    if unknown := sorted(bank.keys() - {"take", "leave_out", "question"}):
        raise ValueError(f"The bank {file} has {unknown[0]!r}; at its top there are take, leave_out and [[question]].")
    if not isinstance(questions, list) or not questions or not all(isinstance(one, dict) for one in questions):
        raise ValueError(f"The bank {file} has no question: begin each one with [[question]] on a line of its own.")
    take, leave_out = bank.get("take", len(questions)), bank.get("leave_out", [])
    if type(take) is not int or not 1 <= take <= len(questions):
        raise ValueError(f"The bank {file}: take is {take!r}; it has {len(questions)} questions, so give 1 to that.")
    if not isinstance(leave_out, list) or not all(one in PUBLIC for one in leave_out):
        raise ValueError(f"The bank {file}: leave_out is {leave_out!r}; give a list of {', '.join(PUBLIC)}.")
    for number, one in enumerate(questions):
        _check_form(one, f"The bank {file}, question {one.get('name', number + 1)!r}", questions[:number])
    chosen = np.sort(numbers.permutation(len(questions))[:take]).tolist()
    made = tuple(
        _question(questions[i], f"The bank {file}, question {questions[i]['name']!r}", names, numbers) for i in chosen
    )
    return Asked(made, tuple(leave_out), text)


def _check_form(one: dict, where: str, before: list[dict]) -> None:
    """Raise ValueError if a question lacks a part, or has one that is not as it should be."""
    for name, kind in (NEEDED | OTHERS).items():
        if name not in one and name in NEEDED:
            raise ValueError(f"{where}, has no {name}.")
        if name in one and (not isinstance(one[name], kind) or name in NEEDED and not one[name]):
            kinds = {str: "a text", dict: "a table, { name = ... }", list: "a list"}
            raise ValueError(f"{where}: {name} is {one[name]!r}; give {kinds[kind]}.")
    if unknown := sorted(one.keys() - NEEDED.keys() - OTHERS.keys()):
        raise ValueError(f"{where}, has {unknown[0]!r}; there are {', '.join([*NEEDED, *OTHERS])}.")
    if not re.fullmatch(r"[a-z]\w*", one["name"]) or re.match(r"q\d", one["name"]):
        raise ValueError(f"{where}: give it a name of small letters, digits and _ that does not begin like q1.")
    variables = [*one["answers"], *filter(None, [one.get("free_text")])]
    others = {n for other in before for n in [*other["answers"], other.get("free_text")]}
    if wrong := [n for n in variables if not n.isidentifier() or n in TAKEN | others or variables.count(n) > 1]:
        raise ValueError(f"{where}: {wrong[0]!r} is no name of a variable, or one that the exam uses already.")
    if one["name"] in [other["name"] for other in before]:
        raise ValueError(f"{where}: there are two of this name.")
    if one["name"] in COLUMNS:
        raise ValueError(f"{where}: {', '.join(COLUMNS)} are columns of the table of grades; give it another name.")
    for name, tolerance in one["answers"].items():
        if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 <= tolerance < 1:
            raise ValueError(f"{where}: {name} may be off by {tolerance!r}; give a share from 0 to less than 1.")
    if wrong := [n for n, values in one.get("draw", {}).items() if not isinstance(values, list) or not values]:
        raise ValueError(f"{where}: draw has no choices for {wrong[0]}; give a list, {wrong[0]} = [0, 1].")
    if wrong := [hint for hint, code in one.get("mistakes", {}).items() if not isinstance(code, str)]:
        raise ValueError(f"{where}: the mistake {wrong[0]!r} has no code, a text, that makes it.")
    rubric = one.get("rubric", [])
    if bool(rubric) != bool(one.get("free_text")) or rubric and [type(r) for r in rubric] != [str] * LEVELS:
        raise ValueError(f"{where}: a free_text has a rubric of {LEVELS} texts, for level 0 to {LEVELS - 1}.")


def _question(one: dict, where: str, names: dict[str, Any], numbers: np.random.Generator) -> Question:
    """Return a question with its choices made and its answers computed."""
    values = {name: choices[int(numbers.integers(len(choices)))] for name, choices in one.get("draw", {}).items()}

    def filled(text: str) -> str:
        def value(found: re.Match) -> str:
            if found[1] not in values:
                raise ValueError(f"{where}: <<{found[1]}>> has no choices; write draw = {{ {found[1]} = [...] }}.")
            return str(values[found[1]])

        return re.sub(r"<<(\w+)>>", value, text.strip("\n"))

    def computed(code: str, what: str) -> dict[str, Any]:
        bound = dict(names)
        try:
            exec(compile(code, what, "exec"), bound)  # the instructor's own file, on the instructor's machine
        except Exception as error:
            raise ValueError(f"{where}: its {what} stops with {type(error).__name__}: {error}") from None
        return bound

    solution = filled(one["solution"])
    bound, answers, text = computed(solution, "solution"), {}, one.get("free_text", "")
    for name, tolerance in one["answers"].items():
        if name not in bound:
            raise ValueError(f"{where}: its solution does not bind {name}.")
        answers[name] = (_plain(bound[name], f"{where}: {name}"), float(tolerance))
    if text and not isinstance(bound.get(text), str):
        raise ValueError(f"{where}: its solution does not bind {text} to a text, as an example of a full answer.")
    made = {}
    for hint, code in one.get("mistakes", {}).items():
        what = f"mistake {filled(hint)!r}"
        bound = computed(filled(code), what)
        made[filled(hint)] = {n: _plain(bound[n], f"{where}, its {what}: {n}") for n in answers if n in bound}
        if not made[filled(hint)]:
            raise ValueError(f"{where}: its {what} binds none of {', '.join(answers)}.")
    title, asks, rubric = filled(one["title"]), filled(one["text"]), tuple(map(filled, one.get("rubric", [])))
    return Question(one["name"], title, asks, solution, answers, made, text, rubric)


def _plain(value: Any, what: str) -> Any:
    """Return an answer as a word, a whole number or a tensor; raises ValueError if it is nothing like this."""
    if isinstance(value, str | bool | int):
        return value
    try:
        found = torch.as_tensor(value).detach().double()
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{what} is a {type(value).__name__}; give a number, a word or a tensor.") from None
    if not found.isfinite().all():
        raise ValueError(f"{what} holds NaN or infinity.")
    return found
