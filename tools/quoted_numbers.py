"""Numbers that pages of docs/ quote from the lessons, bound to notebooks/evidence.json by comments that nobody sees.

    right on 58 %<!-- start_here: 100 * right["no square"] --> of the digits
    56 to 63<!-- range of start_here: 100 * right["no square"] --> over ten runs

A comment names the lesson and the expression, written as in the lesson's own text: the first kind quotes the median of
ten runs, the second the lowest and the highest of them. A page is never typed again when a lesson has changed:

    python -m tools.quoted_numbers            write the numbers of the evidence into the pages
    python -m tools.quoted_numbers --check    only say which pages are old; exit with 1 if any is

A number keeps the digits that the page gives it: "0.8" stays a number with one decimal, "1,280" keeps its comma.
"""

import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

from tools.bound_numbers import BOUND, COMMENT, PAIR, REACH, NotBound

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs"
EVIDENCE = ROOT / "notebooks" / "evidence.json"
SAYS = re.compile(r"(?P<both>range of )?(?P<lesson>[a-z]\w*): (?P<expression>.+)", re.S)


class Quote(NamedTuple):
    """What a page quotes of a lesson: the median of an expression, or its range; ``spans`` says where in the text."""

    lesson: str
    expression: str
    numbers: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]


def quotes(text: str) -> list[Quote]:
    """Return what a page quotes, in order; comments of other kinds are passed over.

    Raises:
        NotBound: a comment quotes a lesson, and no number, or for a range no two numbers, stand before it.

    >>> [quote] = quotes('on 58 %<!-- start_here: 100 * right["no square"] --> of them')
    >>> quote.lesson, quote.expression, quote.numbers
    ('start_here', '100 * right["no square"]', ('58',))
    """
    found, end = [], 0
    for comment in COMMENT.finditer(text):
        start = max(end, text.rfind("\n", 0, comment.start()) + 1, comment.start() - REACH - 20)
        before, end = text[start : comment.start()], comment.end()
        says = SAYS.fullmatch(comment[1])
        if says is None:
            continue
        number = (PAIR if says["both"] else BOUND).search(before)
        if number is None:
            wanted = "two numbers" if says["both"] else "number"
            raise NotBound(f"Before <!-- {comment[1]} --> stands no {wanted}: {before!r}.")
        spans = tuple((start + number.start(i), start + number.end(i)) for i in range(1, 3 if says["both"] else 2))
        found.append(Quote(says["lesson"], says["expression"], tuple(text[a:b] for a, b in spans), spans))
    return found


def written(value: float, like: str) -> str:
    """Return a number with as many decimals, and the same kind of minus sign and comma, as another one.

    >>> written(57.8, like="58"), written(-0.249, like="−0.3"), written(1279.6, like="1,280")
    ('58', '−0.2', '1,280')
    """
    decimals = len(like.partition(".")[2])
    text = f"{value:,.{decimals}f}" if "," in like else f"{value:.{decimals}f}"
    text = text.removeprefix("-") if not float(text.replace(",", "")) else text
    text = "+" + text if like.startswith("+") and value > 0 else text
    return text.replace("-", "-" if like.startswith("-") else "\N{MINUS SIGN}")


def true_numbers(quote: Quote, evidence: dict) -> tuple[str, ...]:
    """Return what the evidence says in place of a quote's numbers, written as they are.

    Raises:
        NotBound: the evidence has no such lesson, or the lesson no such number.
    """
    numbers = evidence.get(quote.lesson, {}).get("numbers", {})
    if quote.expression not in numbers:
        raise NotBound(
            f"{EVIDENCE.relative_to(ROOT)} has no number {quote.expression!r} of lesson {quote.lesson}: copy the "
            "expression from a comment in the lesson's own text."
        )
    one = numbers[quote.expression]
    values = [one["median"]] if len(quote.numbers) == 1 else [one["lowest"], one["highest"]]
    return tuple(written(value, like) for value, like in zip(values, quote.numbers, strict=True))


def updated(text: str, evidence: dict) -> str:
    """Return a page with the numbers of the evidence in place of those that it quotes.

    Raises:
        NotBound: a quote cannot be read, or the evidence does not have it.
    """
    for quote in reversed(quotes(text)):
        for (start, end), number in reversed(list(zip(quote.spans, true_numbers(quote, evidence), strict=True))):
            text = text[:start] + number + text[end:]
    return text


def main(arguments: list[str]) -> int:
    """Write or check the numbers of all pages; return the exit status."""
    evidence = json.loads(EVIDENCE.read_text(encoding="utf-8"))
    old = {}
    for page in sorted(PAGES.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        try:
            new = updated(text, evidence)
        except NotBound as fault:
            raise SystemExit(f"{page.name}: {fault}") from None
        if new != text:
            old[page] = new
    if "--check" in arguments:
        lines = [f"{page.name}: numbers are old; run python -m tools.quoted_numbers" for page in old]
        print("\n".join(lines) or "up to date")
        return int(bool(old))
    for page, new in old.items():
        page.write_text(new, encoding="utf-8")
        print(f"wrote docs/{page.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
