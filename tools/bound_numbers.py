"""Numbers in a lesson's text, bound to the run by comments that nobody sees where the notebook is shown.

    right on 82 %<!-- 100 * accuracy ± 3 --> of the pictures, 79 to 84<!-- range of 100 * accuracy --> over ten runs
    a net for 28 x 28 pixels<!-- fixed -->

The first comment holds an expression in the notebook's own variables, and how far text and run may differ. While the
tests run the notebook, it is evaluated in the kernel, behind the cells above it: see ``conftest.py``. The second says
that the two numbers are the lowest and the highest that ``make evidence`` found for an expression. The third marks
numbers that no run can change: sizes, counts of classes, constants of a definition; it holds for all numbers of the
sentence before it that have no comment of their own. A student's run evaluates none of it.
"""

import copy
import json
import re
from collections.abc import Iterable
from typing import NamedTuple

from nbformat import NotebookNode

NUMBER = r"[-−+]?\d(?:,?\d)*(?:\.\d+)?"
COMMENT = re.compile(r"<!--(?!\s*(?:BEGIN|END) SOLUTION)\s*(.*?)\s*-->", re.S)  # those are for instructors
BOUND = re.compile(rf"({NUMBER})(?!.*\d)[^\n]*$")  # the last number of what stands before a comment
PAIR = re.compile(rf"({NUMBER})\D+?({NUMBER})(?!.*\d)[^\n]*$")
SAYS = re.compile(r"(?P<expression>.+?)\s*±\s*(?P<within>\d+(?:\.\d+)?)$", re.S)
REACH = 24  # characters between a number and its comment, at most
# What holds digits and is no number of the prose
ELSEWHERE = (
    r"```.*?```",
    r"(?m)^## Further reading\n.*?(?=^\*\*Next|\Z)",
    r"\*\*\d+\.\*\*",  # of an exercise
    r"<summary>.*?</summary>",  # of a hint; of a question, whose numbers are an example
    r"`[^`]*`",
    r"\$\$.*?\$\$",
    r"\$[^$\n]*\$",
    r"!\[[^\]]*\]\([^)]*\)",
    r"\]\([^)]*\)",
    r"<[a-zA-Z/][^>]*>",
    r"(?m)^#+ [^\n]*$",
    r"(?m)^\s*\d+\. ",
    r"\b(?:[Ss]teps?|[Ee]xhibits?) \d+",
    r"(?m)^Reading \d+ minutes · running \d+ s\b",  # of a lesson's header: tools/minutes.py
    r"\b(?:19|20)\d\d\b",  # a year; counts of thousands are written with a comma
)
LONELY = re.compile(rf"(?<![\w.,/-]){NUMBER}(?![\w/]|-\w)")


class Bound(NamedTuple):
    """A number that the text says, the expression that gives it, and how far the two may differ."""

    said: float
    expression: str
    within: float
    unit: float  # of its last digit: 0.1 for "0.4"


class Range(NamedTuple):
    """The lowest and the highest value that the text says of an expression."""

    low: float
    high: float
    expression: str
    unit: float


class NotBound(ValueError):
    """A comment that binds nothing; the text is the sentence for the author."""


def value(number: str) -> float:
    """Return the number that a text says: ``value("1,280")`` is 1280.0."""
    return float(number.replace(",", "").replace("−", "-"))


def unit(number: str) -> float:
    """Return the unit of a number's last digit: ``unit("0.4")`` is 0.1."""
    return 10.0 ** -len(number.partition(".")[2])


def bound_numbers(markdown: str) -> list[Bound | Range]:
    """Return what the comments of a text bind, in order.

    Raises:
        NotBound: a comment with a tolerance or a range has no number before it, or cannot be read.
    """
    found: list[Bound | Range] = []
    end = 0
    for comment in COMMENT.finditer(markdown):
        before, end = (
            markdown[max(end, comment.start() - REACH - 20) : comment.start()].rpartition("\n")[2],
            comment.end(),
        )
        content = comment.group(1)
        if content == "fixed":
            continue
        if content.startswith("range of "):
            pair = PAIR.search(before)
            if pair is None:
                raise NotBound(f"Before <!-- {content} --> stand no two numbers: {before!r}.")
            low, high = pair.groups()
            found.append(Range(value(low), value(high), content.removeprefix("range of ").strip(), unit(high)))
            continue
        says, number = SAYS.match(content), BOUND.search(before)
        if says is None:
            raise NotBound(f"<!-- {content} --> is none of: expression ± tolerance, range of expression, fixed.")
        if number is None:
            raise NotBound(f"Before <!-- {content} --> stands no number: {before!r}.")
        text = number.group(1)
        found.append(Bound(value(text), says["expression"].strip(), float(says["within"]), unit(text)))
    return found


def plain(markdown: str) -> str:
    """Return a text without its comments, as it is read."""
    return COMMENT.sub("", markdown)


def as_read(notebook: NotebookNode) -> NotebookNode:
    """Return a copy of a notebook whose text cells have no comments: what pages, slides and assignments are made of."""
    copied = copy.deepcopy(notebook)
    for cell in copied.cells:
        if cell.cell_type == "markdown":
            cell.source = plain(cell.source)
    return copied


def lonely_numbers(markdown: str) -> list[str]:
    """Return the numbers of a text that are neither bound nor marked as fixed.

    Code, formulas, links, headings, numbers of a list, years, and digits inside of names such as ResNet18 do not count.
    """
    for pattern in ELSEWHERE:
        markdown = re.sub(pattern, lambda found: " " * len(found.group()), markdown, flags=re.S)
    lonely: list[str] = []
    for sentence in re.split(r"(?<=[.!?:])\s+(?=[A-Z*_(<\"'])|\n\s*\n|(?<=\|)\s*\n", markdown):
        waiting: list[str] = []
        end = 0
        for comment in COMMENT.finditer(sentence):
            waiting += LONELY.findall(sentence[end : comment.start()])
            end = comment.end()
            if comment.group(1) == "fixed":
                waiting = []
            elif comment.group(1).startswith("range of "):
                waiting = waiting[:-2]
            else:
                waiting = waiting[:-1]
        lonely += waiting + LONELY.findall(sentence[end:])
    return lonely


def checking_code(bounds: Iterable[Bound | Range]) -> str:
    """Return code for the notebook's kernel that fails where text and run differ, and leaves no name behind."""
    claims = [(b.said, b.expression, b.within) for b in bounds if isinstance(b, Bound)]
    return f"""
def _text_is_true(claims):
    wrong = []
    for said, expression, within in claims:
        found = float(eval(expression, globals()))
        if not abs(found - said) <= within + 1e-6 * max(1, abs(said)):
            wrong.append(f"the text says {{said:g}}, this run gives {{found:.4g}} for {{expression}} (± {{within:g}})")
    assert not wrong, "; ".join(wrong)
try:
    _text_is_true({claims!r})
finally:
    del _text_is_true
"""


def asking_code(bounds: Iterable[Bound | Range]) -> str:
    """Return code for the notebook's kernel that prints what each expression gives, as one line of JSON."""
    expressions = list(dict.fromkeys(b.expression for b in bounds))
    return f"""
def _values(expressions):
    import json
    found = {{}}
    for expression in expressions:
        try:
            found[expression] = float(eval(expression, globals()))
        except Exception as error:
            found[expression] = f"{{type(error).__name__}}: {{error}}"
    print({MARK!r} + json.dumps(found))
try:
    _values({expressions!r})
finally:
    del _values
"""


MARK = "BOUND NUMBERS "


def answers(printed: str) -> dict[str, float | str]:
    """Return what :func:`asking_code` printed: for each expression its value, or what went wrong."""
    found: dict[str, float | str] = {}
    for line in printed.splitlines():
        if line.startswith(MARK):
            found |= json.loads(line.removeprefix(MARK))
    return found
