"""Which parts of a lesson stand on its slides, and which go into the speaker's notes: decided by rule, not by hand.

Each heading begins a slide, with the first sentences below it; a question to predict, a figure, an exercise and a
question of the questionnaire have one each; of code only a check with what it printed is shown, one a section.
"""

import ast
import base64
import io
import re
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from PIL import Image

ROOM = 400  # characters of prose on a slide
TALL = 0.62  # height over width


@dataclass
class Slide:
    """A slide: its title, what it shows, what a click adds, and what only the speaker sees."""

    title: str
    shown: list[str] = field(default_factory=list)
    then: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    closed: bool = False  # whatever text comes next is for the notes
    room: int = ROOM

    def prose(self, text: str) -> None:
        """Show the first sentences of a text, as far as there is room; note the rest."""
        first, rest = cut(text, self.room) if self.room > 60 and not self.closed else ("", text)
        self.room -= len(first)
        self.shown += [first] * bool(first)
        self.notes += [rest] * bool(rest)


def sentences(text: str) -> list[str]:
    """Split a paragraph after full stops and the like; not within formulas and code."""
    kept: list[str] = []
    hidden = re.sub(r"\$[^$]*\$|`[^`]*`", lambda m: kept.append(m[0]) or f"\0{len(kept) - 1}\0", text)
    parts = re.sub(r"(?<!\b[A-Z])([.!?][*_)]{0,3})\s+(?=[A-Z*_\0\[(\"'])", "\\1\1", hidden).split("\1")
    return [re.sub("\0(\\d+)\0", lambda m: kept[int(m[1])], part) for part in parts]


def cut(text: str, room: int) -> tuple[str, str]:
    """Return as many whole sentences of a text as there is room for, at least one, and the rest."""
    parts = sentences(text)
    count = 1
    while count < len(parts) and len(" ".join(parts[: count + 1])) <= room:
        count += 1
    return " ".join(parts[:count]), " ".join(parts[count:])


def blocks(text: str) -> list[str]:
    """Split markdown at blank lines; folded parts, code and displayed formulas stay whole."""
    whole = r"<details>.*?</details>|```.*?```|\$\$.*?\$\$"
    kept: list[str] = []
    hidden = re.sub(whole, lambda m: kept.append(m[0]) or f"\n\n\0{len(kept) - 1}\0\n\n", text, flags=re.S)
    hidden = re.sub(r"^(#+ .*)$", r"\n\1\n", hidden, flags=re.M)
    parts = [part.strip() for part in re.split(r"\n\s*\n", hidden) if part.strip()]
    return [re.sub("\0(\\d+)\0", lambda m: kept[int(m[1])], part) for part in parts]


def options(text: str) -> str:
    """Write the answers (a), (b), (c) of a question below each other."""
    question, *letters = re.split(r"\s*(?=\([a-z]\) )", " ".join(text.split()))
    if len(letters) < 2:
        return text
    items = "\n".join(f"<li>{one}</li>" for one in letters)
    return f'{question}\n\n<ul class="options">\n{items}\n</ul>'


def plain(text: str) -> str:
    """Take the links to other notebooks off a text."""
    return re.sub(r"(?<!!)\[([^\]]+)\]\((?!https?:)[^)]*\)", r"\1", text)


def figure(kind: str, data: bytes, alt: str) -> str:
    """Return a picture as HTML; a tall one gets its caption at its side."""
    alt = alt.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    tall = ""
    if kind != "image/svg+xml":
        with Image.open(io.BytesIO(data)) as image:
            tall = ' class="tall"' * (image.height > TALL * image.width)
    return f'<figure{tall}><img alt="{alt}" src="data:{kind};base64,{base64.b64encode(data).decode()}"></figure>'


def pictures(cell: nbformat.NotebookNode) -> list[str]:
    """Return the figures among a code cell's outputs."""
    found = []
    for output in cell.outputs:
        for kind in ("image/svg+xml", "image/png", "image/jpeg"):
            if kind in output.get("data", {}):
                data = output.data[kind]
                data = data.encode() if kind == "image/svg+xml" else base64.b64decode(data)
                found.append(figure(kind, data, output.metadata.get(kind, {}).get("alt", "")))
                break
    return found


def checked(cell: nbformat.NotebookNode) -> str:
    """Return the asserts of a code cell with what it printed, as markdown; nothing if it has none."""
    try:
        tree = ast.parse(cell.source)
    except SyntaxError:
        return ""
    lines = [
        ast.get_source_segment(cell.source, node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
        or isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        and getattr(node.value.func, "id", getattr(node.value.func, "attr", "")) == "assert_close"
    ]  # fmt: skip
    printed = "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stdout")
    printed = printed.strip("\n").splitlines()
    if not lines or not printed:
        return ""
    code = "\n".join(re.sub(r"\n\s+", " ", line) for line in lines[:3])
    text = "\n".join(line if len(line) < 88 else f"{line[:85]} …" for line in printed[:7])
    return f"```python\n{code}\n```\n\n```text\n{text}\n```"


def slides(notebook: nbformat.NotebookNode, folder: Path) -> list[Slide]:
    """Return the slides of a lesson. ``folder`` is where the pictures that its text shows lie."""
    deck = [opening(notebook.cells[0].source)]
    title, shown_checks, first = deck[0].title.partition(" · ")[2], set(), True
    for cell in notebook.cells[1:]:
        if cell.cell_type == "markdown":
            for block in blocks(cell.source):
                found = re.match(r"#+ (.+)", block)
                if found:
                    title = found[1].strip()
                    if title != "Further reading":
                        deck.append(Slide(title, room=700 if title == "Recap" else ROOM))
                else:
                    place(deck, title, plain(block), folder)
            continue
        if first:  # the cell that finds the course
            first = False
            continue
        shown = pictures(cell)
        for one in shown:
            join(deck, title, one, 130)
        check = "" if shown or title in shown_checks or "check_" in cell.source else checked(cell)
        if check:
            shown_checks.add(title)
            join(deck, title, check, 330)
    return [slide for slide in deck if slide.shown]


def join(deck: list[Slide], title: str, part: str, most: int) -> None:
    """Show a figure or a check below the few words that lead to it, or on a slide of its own."""
    last = deck[-1]
    if last.closed or last.title != title or len("".join(last.shown)) > most:
        deck.append(Slide(title))
    deck[-1].shown.append(part)
    deck[-1].closed = True


def opening(header: str) -> Slide:
    """Return the slide of a lesson's header: its title, its goal, what one will be able to do, the minutes."""
    title, goal, able, *rest = [block for block in header.split("\n\n") if not block.startswith("[![")]
    word, _, verbs = able.partition("** ")
    items = "\n".join(f"- {verb.strip(' .')}" for verb in verbs.split(";"))
    return Slide(title, [goal, f"{word}**\n\n{items}"], notes=rest, closed=True)


def place(deck: list[Slide], title: str, block: str, folder: Path) -> None:
    """Put one block of a text where it belongs: on the last slide, on a slide of its own, or into the notes."""
    if deck[-1] is deck[0]:
        deck.append(Slide(title))
    last = deck[-1]
    image = re.match(r"!\[([^\]]*)\]\((?!attachment:)([^)]+)\)", block)
    folded = re.match(r"<details><summary>(.*?)</summary>(.*)</details>", block, re.S)
    if block.startswith("> **Predict first.**"):
        text = re.sub(r"^> ?", "", block, flags=re.M).replace("**Predict first.** ", "")
        text, _, tail = text.partition("\n\n")
        text = re.sub(r" Write your letter into[^.]*\.$", "", text)
        deck.append(Slide("Predict first", [options(text)], notes=[tail] * bool(tail), closed=True))
    elif block.startswith("**Caption.**"):
        caption, rest = cut(block.removeprefix("**Caption.** "), 230)
        for slide in deck[::-1]:
            if slide.title != title:
                break
            if slide.shown and slide.shown[-1].startswith("<figure"):
                slide.shown.append(f"<figcaption>\n\n{caption}\n\n</figcaption>")
        last.notes += [rest] * bool(rest)
    elif image:
        path = folder / image[2]
        kind = {"png": "image/png", "svg": "image/svg+xml"}.get(path.suffix[1:], "image/jpeg")
        deck.append(
            Slide(title, [figure(kind, path.read_bytes(), image[1])], notes=[block[image.end() :].strip()], closed=True)
        )
    elif folded and re.match(r"\d+\. ", folded[1]):
        answer = " ".join(folded[2].split())
        short, rest = cut(answer, 330)
        number, question = folded[1].split(". ", 1)
        deck.append(
            Slide(f"Question {number}", [options(question)], [f'<div class="answer">\n\n{short}\n\n</div>'], [rest])
        )
        deck[-1].closed = True
    elif folded or block.startswith(("```", "|")):
        last.notes.append(re.sub(r"</?(details|summary)>|!\[[^\]]*\]\([^)]*\)", "", block).strip())
    elif re.match(r"\*\*(\d+\.|Your answer)|(Now w|W)rite your (first|second|third) number", block):
        text, rest = cut(block, 620)
        deck.append(Slide("Your turn", [text], notes=[rest] * bool(rest), closed=True))
    elif "$$" in block:
        formulas = sum("$$" in one for one in last.shown)
        words = sum(len(one) for one in last.shown if "$$" not in one)
        if last.closed or len(last.shown) > 3 or formulas > 1 or formulas and words > ROOM:
            deck.append(Slide(title))
        deck[-1].shown.append(block)
        deck[-1].room = min(deck[-1].room, 150)
    elif title == "Further reading" and not block.startswith("**Next"):
        last.notes.append(block)
    elif re.match(r"([-*]|\d+\.) ", block):
        if last.closed or last.room < len(block) // 2:
            deck.append(Slide(title))
        deck[-1].shown.append(brief(block))
        deck[-1].room -= len(block)
    else:
        last.prose(block)


def brief(items: str) -> str:
    """Cut the items of a list to their first sentences, so that a long list still fits."""
    parts = re.split(r"\n(?=(?:[-*]|\d+\.) )", items)
    room = max(80, 640 // len(parts))
    marks = [re.match(r"(?:[-*]|\d+\.) ", part)[0] for part in parts]
    return "\n".join(m + cut(" ".join(p.split())[len(m) :], room)[0] for m, p in zip(marks, parts, strict=True))
