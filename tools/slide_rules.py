"""Which parts of a lesson stand on its slides, and which go into the speaker's notes: decided by rule, not by hand.

Each heading begins a slide, with the first sentences below it. A figure has a slide with its caption, and is shown
again, small, beside the words that say what it means; an answer comes behind the picture that decides it. Tables are
shown as tables. Code is not shown, and what a cell printed only whole.
"""

import base64
import html
import itertools
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from tools.slide_pictures import POINTS, SMALLER, Picture, arrange, small
from tools.slide_tables import from_frame, from_markdown, from_printed, from_words

ROOM = 520  # characters of prose on a slide
BODY = 590  # pixels below the title
OF_CODE = re.compile(
    r"\b(next|following|last|first|second|previous|this|that|these|both) (code )?(cells?|lines?)\b|"
    r"\bcells? (above|below)|\bassert|\bthe cell\b|\bcells? that\b|[Rr]un (all|the) cell|in the code\b|[Bb]oth lines|"
    r"\bof the code\b|\bnext function\b"
)
LEANING = re.compile("(It|Its|They|Their|This|These|That|Those|There|Then|Undo|Try|Otherwise|So|But|The result)\\b")


def sentences(text: str) -> list[str]:
    """Split a paragraph after full stops and the like; not within formulas and code."""
    kept: list[str] = []
    hidden = re.sub(r"\$[^$]*\$|`[^`]*`", lambda m: kept.append(m[0]) or f"\0{len(kept) - 1}\0", text)
    parts = re.sub(r"(?<!\b[A-Z])([.!?][*_)]{0,3})\s+(?=[A-Z*_\0\[(\"'])", "\\1\1", hidden).split("\1")
    return [re.sub("\0(\\d+)\0", lambda m: kept[int(m[1])], part) for part in parts]


def cut(text: str, room: int) -> tuple[str, str]:
    """Return as many whole sentences of a text as there is room for, at least one, and the rest.

    Bold words at its head do not count as a sentence.
    """
    parts = sentences(text)
    count = 1 + (len(parts) > 1 and bool(re.fullmatch(r"\*\*[^*]+\*\*", parts[0])))
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
    question, *letters = re.split(r"\s+(?=\([a-z]\) )", " ".join(text.split()))
    for mark, tag in ((r"\*\*", "strong"), (r"\*", "em"), ("`", "code")):  # markdown is not read within HTML
        letters = [re.sub(f"{mark}([^*`]+){mark}", rf"<{tag}>\1</{tag}>", one) for one in letters]
    if len(letters) < 2:
        return text
    items = "\n".join(f"<li>{one}</li>" for one in letters)
    return f'{question}\n\n<ul class="options">\n{items}\n</ul>'


def plain(text: str) -> str:
    """Take the links to other notebooks off a text."""
    return re.sub(r"(?<!!)\[([^\]]+)\]\((?!https?:)[^)]*\)", r"\1", text)


def spoken_of_code(text: str) -> tuple[str, str]:
    """Part a paragraph into what a slide can say, and the sentences about cells and lines of code, which it leaves out.

    A sentence that leans on one of those goes with it.
    """
    said: list[str] = []
    code: list[str] = []
    left_out = False
    for sentence in sentences(text):
        left_out = bool(OF_CODE.search(sentence) or left_out and LEANING.match(sentence))
        (code if left_out else said).append(sentence)
    return " ".join(said), " ".join(code)


class Part:
    """A part of a lesson: its kind, which is the name of a method of ``Deck``, and what it is."""

    def __init__(self, kind: str, what: Any, *rest: Any) -> None:
        self.kind, self.what, self.rest = kind, what, rest

    @property
    def more(self) -> str:
        """Return the words that come with a figure of the text."""
        return self.rest[0] if self.rest else ""


@dataclass
class Slide:
    """A slide: its title, what it shows, what a click adds, and what only the speaker sees."""

    title: str
    shown: list[str] = field(default_factory=list)
    then: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    kind: str = "words"
    revealed: bool = False  # what comes next is shown by a click
    bare: bool = False  # without its title: a picture that needs all of the slide
    closed: bool = False  # whatever text comes next is not for this slide
    high: float = 0.0  # pixels that are taken
    words: int = 0  # characters of prose
    most: int = ROOM  # characters of prose
    line: tuple[int, float] = (79, 44.0)  # characters in a line of its text, and the height of a line

    @property
    def room(self) -> int:
        """Return how many characters of prose still have room."""
        letters, high = self.line
        return min(self.most - self.words, int((BODY - self.high - 17) // high) * letters)

    @property
    def letters(self) -> str:
        """Return the size of its letters: "large" for few words, "medium" beside a table or a picture, or neither."""
        if re.search('class="(again|table|printed|coloured)', "".join(self.shown)):
            return "medium"
        text = re.sub("<[^>]*>", "", "\n".join([*self.shown, *self.then]))
        lines = sum(-(-len(line) // 62) + 0.4 for line in text.splitlines() if line.strip())
        few = max(lines * 53, self.high * 1.45) < BODY - 20
        return "large" if few and self.kind in ("words", "exercise", "predict", "question") else ""

    def add(self, text: str) -> None:
        """Show a paragraph, and count its lines."""
        letters, high = self.line
        (self.then if self.revealed else self.shown).append(text)
        self.words += len(text)
        self.high += high * -(-len(text) // letters) + 17

    def prose(self, text: str) -> None:
        """Show the first sentences of a text, as far as there is room; note the rest."""
        said, code = spoken_of_code(text)
        first, rest = cut(said, self.room) if said else ("", "")
        if len(first) > self.room or self.closed:
            first, rest = "", said
        if first:
            self.add(first)
        self.notes += [text] if not first else [one for one in (rest, code) if one]


class Deck:
    """The slides of a lesson as they grow; for each kind of part there is a method that puts it where it belongs."""

    def __init__(self, slides: list[Slide]) -> None:
        self.slides = slides
        self.section = ""
        self.carried: list[str] = []  # notes of a slide that went into the next
        self.pending: list[tuple[str, float]] = []  # short lines that a cell printed, for the words that follow
        self.left = ""  # of a caption, for the slide that shows its figure again
        self.asked = False  # a question is open
        self.drawn: tuple[str, float] | None = None  # the last figure since a question
        self.seen: tuple[str, float] | None = None  # the last figure or table, small, and its height

    @property
    def last(self) -> Slide:
        """Return the slide that was begun last."""
        return self.slides[-1]

    def new(self, title: str = "", **options: object) -> Slide:
        """Begin a slide."""
        self.slides.append(Slide(title or self.section, **options))
        return self.last

    def heading(self, title: str) -> None:
        """Begin a section."""
        self.section = title
        if title != "Further reading":
            self.new(most=700 if title == "Recap" else ROOM)

    def figures(self, pictures: list[Picture], caption: str) -> None:
        """Show pictures with their caption; what does not fit beside them follows with the picture small."""
        said, code = spoken_of_code(" ".join(caption.split()))
        needed = len(sentences(said)[0]) if said else 0
        lead = self.lead(pictures[0], needed) if said else ""
        for picture in pictures:
            left = said
            for one in arrange(picture, needed):
                room = one.room - 100 * -(-len(lead) // 100)
                first, rest = cut(left, room) if left and one.room else ("", left)
                if len(first) > room:
                    first, rest = "", left
                slide = self.new(kind="figure", closed=True, bare=one.role == "alone")
                slide.shown += [f'<div class="lead">\n\n{lead}\n\n</div>'] * bool(lead) + [one.html]
                lead = ""
                slide.shown += [f"<figcaption>\n\n{first}\n\n</figcaption>"] * bool(first)
                slide.most, slide.words = room, len(first)
                left = rest
            self.seen = self.drawn = (small(picture), picture.size[0] / picture.size[1])
        self.last.notes += self.carried
        self.carried = []
        self.left = left
        if left and not first:
            self.reading()
        self.last.notes += [code] * bool(code)

    def lead(self, picture: Picture, needed: int) -> str:
        """Take the few words that lead to a picture from the last slide, which goes, if there is room above it."""
        last = self.last
        words = " ".join(one for one in last.shown if not one.startswith('<p class="printed">'))
        if last.kind != "words" or last.title != self.section or last.closed or len(words) > 300 or "\n" in words:
            return ""
        if len(self.slides) < 2 or "$$" in words or "<" in words or re.match(r"[-*\d]+\.? ", words):
            return ""
        taken = 100 * -(-len(words) // 100)
        way = arrange(picture, needed + taken)
        if len(way) > 1 or way[0].role != "wide":
            if len(words) > 80:
                return ""
            self.carried.append(words)
            words = ""
        self.slides.pop()
        self.carried += last.notes + [one for one in last.shown if one.startswith("<p")]
        return words

    def reading(self, title: str = "") -> Slide:
        """Begin a slide that shows the last figure or table once more, with room for what it means."""
        slide = self.new(title, kind="reading")
        again, shape = self.seen or ("", 0.0)
        if not again.startswith("<figure") and shape > 400 and self.drawn:
            again, shape = self.drawn
        slide.most = 480
        if again.startswith("<figure") and "again above" not in again:
            slide.shown.append(again)
            slide.line = (44, 40.0)
        elif again.startswith("<figure"):
            slide.shown.append(again)
            slide.high += min(310, 1152 / shape) + 12
            slide.line = (86, 40.0)
        elif again and shape <= 400:
            slide.shown.append(again)
            slide.high += shape
            slide.line = (86, 40.0)
        if again.startswith("<figure") and self.left:
            first, rest = cut(self.left, 300)
            slide.add(first)
            slide.notes += [rest] * bool(rest)
            slide.words, slide.most = 0, slide.most - len(first) // 2
        self.left = ""
        return slide

    def printed(self, shown: str, high: float) -> None:
        """Show a line or two that a cell printed below the words before it, or above those that follow."""
        last = self.last
        if last.title == self.section and not last.closed and last.high + high <= BODY - 60 and last.shown:
            last.shown.append(shown)
            last.high += high
            last.kind = "table" if self.asked and last.kind == "words" else last.kind
        else:
            self.pending.append((shown, high))
        self.seen = self.seen or (shown, high)

    def settle(self, slide: Slide | None = None) -> None:
        """Put the lines that wait onto a slide, or into the notes of the last one."""
        if slide is None and self.left:
            self.last.notes.append(self.left)
            self.left = ""
        for shown, high in self.pending:
            if slide and slide.high + high <= BODY - 60:
                slide.shown.append(shown)
                slide.high += high
                slide.kind = "table" if self.asked and slide.kind == "words" else slide.kind
            else:
                self.last.notes.append(shown)
        self.pending = []

    def table(self, shown: str, high: float, rest: str = "", again: tuple[str, float] | None = None) -> None:
        """Show a table below the words that lead to it, or on a slide of its own; words may follow."""
        last = self.last
        alike = last.kind == "words" or last.kind == "reading" and last.line[0] > 80
        if last.closed or last.title != self.section or not alike or last.high + high + 110 > BODY or last.revealed:
            last = self.new()
        last.shown.append(shown)
        last.high += high
        last.kind = "table"
        last.most = last.words + 640
        last.line = (86, 40.0)
        last.notes += [rest] * bool(rest)
        self.seen = again or (shown, high)

    def predict(self, block: str) -> None:
        """Ask a question on a slide of its own."""
        text, _, tail = block.partition("\n\n")
        text = re.sub(r" Write your (letter|answer) [^.]*\.$", "", text.strip())
        self.new("Predict first", shown=[options(text)], notes=[tail] * bool(tail), kind="predict", closed=True)
        self.seen = self.drawn = None
        self.asked = True

    def answer(self, text: str, title: str) -> None:
        """Show the answer to a question behind the picture that decides it, which is shown again."""
        self.asked = False
        slide = self.last
        first, rest = cut(re.sub(r",? as the next cell (counts|shows|says)", "", text), 320)
        if slide.kind == "table" and slide.high + 57 + 40 * -(-len(first) // 80) <= BODY:
            slide.revealed = True
        elif slide.kind != "reading" or slide.words or slide.high + 57 + 40 * -(-len(first) // slide.line[0]) > BODY:
            slide = self.reading(title)
        slide.title = title if slide.kind == "reading" else slide.title
        slide.add(f'<div class="answer">\n\n{first}\n\n</div>')
        slide.words -= 34
        slide.most = 640
        slide.notes += [rest] * bool(rest)

    def question(self, asked: str, answer: str) -> None:
        """Ask a question of the questionnaire; a click shows its answer."""
        short, rest = cut(answer, 330)
        number, text = asked.split(". ", 1)
        shown = f'<div class="answer">\n\n{short}\n\n</div>'
        self.new(f"Question {number}", shown=[options(text)], then=[shown], notes=[rest], kind="question", closed=True)

    def caption(self, text: str) -> None:
        """Show the caption of something that is no picture, such as a table."""
        self.text(text)

    def aside(self, text: str) -> None:
        """Leave to the speaker what is folded in the lesson, or is code."""
        self.last.notes.append(text)

    def exercise(self, block: str) -> None:
        """Show the first sentences of an exercise."""
        text, rest = cut(block, 620)
        slide = self.new("Your turn", kind="exercise", closed=True, notes=[rest] * bool(rest))
        slide.add(text)

    def formula(self, block: str) -> None:
        """Show a formula whole, below the words that lead to it."""
        last = self.last
        high = 110 + (90 if "\\\\" in block else 0) + 42 * (len(re.sub(r"\$\$.*?\$\$", "", block, flags=re.S)) // 79)
        formulas = sum("$$" in one for one in last.shown)
        if last.closed or last.kind != "words" or formulas > 1 or last.high + high > BODY - 60:
            last = self.new()
        last.shown.append(block)
        last.high += high
        last.most = min(last.most, last.words + 240)

    def list(self, block: str) -> None:
        """Show the first sentence of each item."""
        if self.section == "Further reading":
            self.last.notes.append(block)
            return
        shown = brief(block)
        lines = sum(-(-len(item) // 76) * 42 + 7 for item in shown.split("\n"))
        last = self.last
        if last.closed or last.kind not in ("words", "table") or last.high + lines + 17 > BODY or last.words > 420:
            last = self.new(most=700)
        last.shown.append(shown)
        last.high += lines + 17
        last.words += len(shown)
        if shown != block:
            last.notes.append(block)

    def text(self, block: str) -> None:
        """Show a paragraph where there is room for it, beside the figure that it speaks of; or note it."""
        block = " ".join(block.split()) if "\n" in block and "<" not in block else block
        if self.section == "Further reading":
            if block.startswith("**Next") and self.last.high + 100 < BODY:
                said, rest = cut(block, 240)
                self.last.add(said)
                self.last.notes += [rest] * bool(rest)
            else:
                self.last.notes.append(block)
            return
        said, of_code = spoken_of_code(block)
        last = self.last
        if last.kind == "figure" and last.title == self.section and 0 < len(said) <= last.most - last.words - 20:
            last.shown.append(f"<figcaption>\n\n{said}\n\n</figcaption>")
            last.words += 20 + len(said)
            last.notes += [of_code] * bool(of_code)
            return
        if last is self.slides[0] or last.title not in (self.section, "Compare with your prediction", "Answer"):
            if said:
                last = self.new()
        elif last.closed and len(said) > 60:
            last = self.reading() if last.kind == "figure" else self.new()
        elif said and last.kind != "reading" and last.room < len(sentences(said)[0]) and len(said) > 160:
            last = self.new()
        if said and self.pending and not last.closed and last.title == self.section:
            self.settle(last)
        last.prose(block)


def parts(notebook: nbformat.NotebookNode, folder: Path) -> list[Part]:
    """Return what a lesson consists of, in its order, without its header, its first cell and its code.

    A code cell whose metadata say ``"slideshow": {"slide_type": "skip"}``, as Jupyter's own slides have it, is left
    out: such a figure is made for the reader's own screen.
    """
    found, first, skipped = [], True, False
    for cell in notebook.cells[1:]:
        if cell.cell_type == "markdown":
            told = [_of_text(plain(block), folder) for block in blocks(cell.source)]
            found += [Part("aside", one.what) if skipped and one.kind == "caption" else one for one in told]
        elif first:  # the cell that finds the course
            first = False
        elif "check_" not in cell.source and cell.metadata.get("slideshow", {}).get("slide_type") != "skip":
            found += _of_code(cell)
        skipped = cell.metadata.get("slideshow", {}).get("slide_type") == "skip"
    return found


def _of_text(block: str, folder: Path) -> Part:
    """Say what kind of thing a block of a text is."""
    image = re.match(r"!\[([^\]]*)\]\((?!attachment:|https?:)(\S+?)(?: \"[^\"]*\")?\)", block)
    folded = re.match(r"<details><summary>(.*?)</summary>(.*)</details>", block, re.S)
    if re.match("#+ ", block):
        return Part("heading", block.lstrip("# ").strip())
    if image:
        path = folder / image[2]
        kind = {"png": "image/png", "svg": "image/svg+xml"}.get(path.suffix[1:], "image/jpeg")
        return Part("figure", Picture(kind, path.read_bytes(), image[1]), block[image.end() :].strip())
    if block.startswith("> **Predict first.**"):
        return Part("predict", re.sub(r"^> ?", "", block, flags=re.M).replace("**Predict first.** ", ""))
    if block.startswith("**Caption.**"):
        return Part("caption", block.removeprefix("**Caption.** "))
    if folded and re.match(r"\d+\. ", folded[1]):
        return Part("question", folded[1], " ".join(folded[2].split()))
    if folded and re.match("Compare with|Answer", folded[1]):
        return Part("answer", " ".join(folded[2].split()), folded[1].partition(":")[0])
    if command := re.fullmatch(r"```(?:bash|sh)?\n([^\n]{1,90})\n```", block):  # the sentence before it needs it
        return Part("printed", f'<p class="printed"><code>{html.escape(command[1])}</code></p>', 68.0)
    if folded or block.startswith("```"):
        return Part("aside", re.sub(r"</?(details|summary)>|!\[[^\]]*\]\([^)]*\)", "", block).strip())
    if block.startswith("|"):
        return Part("table", *from_markdown(block))
    if re.match(r"\*\*(\d+\.|Your answer)|(Now w|W)rite your (first|second|third) number", block):
        return Part("exercise", block)
    if "$$" in block:
        return Part("formula", block)
    return Part("list" if re.match(r"([-*]|\d+\.) ", block) else "text", block)


def _of_code(cell: nbformat.NotebookNode) -> list[Part]:
    """Return the figures and tables among a cell's outputs, and what it printed."""
    found, printed = [], ""
    for output in cell.outputs:
        data = output.get("data", {})
        kind = next((one for one in ("image/svg+xml", "image/png", "image/jpeg") if one in data), None)
        if output.output_type == "stream":
            printed += output.text if output.name == "stdout" else ""
        elif kind:
            raw = data[kind].encode() if kind == "image/svg+xml" else base64.b64decode(data[kind])
            points = min([size for call, size in SMALLER.items() if call in cell.source], default=POINTS)
            found.append(Part("figure", Picture(kind, raw, output.metadata.get(kind, {}).get("alt", ""), points)))
        elif "text/html" in data:
            page = data["text/html"]
            table = from_frame(page)
            if table:
                found.append(Part("table", table.shown, table.high, table.rest, table.again))
            else:
                found.append(Part("table", *from_words(page), from_words(page, 330)[:2]))
        elif output.output_type == "execute_result" and "text/plain" in data:  # a number or a column of pandas
            printed += re.sub(r"\n?(Name|Length|dtype): .*$", "", data["text/plain"]) + "\n"
    if printed.strip():
        shown, high = from_printed(printed)
        drawn = any(part.kind == "figure" for part in found)  # no number before its picture
        whole = f"```text\n{printed.strip()}\n```"
        kind = "printed" if "<table" not in shown else "table"
        one = Part(kind, shown, high) if shown and not drawn else Part("aside", whole)
        found = [*found, one] if drawn else [one, *found]
    return found


def slides(notebook: nbformat.NotebookNode, folder: Path) -> list[Slide]:
    """Return the slides of a lesson. ``folder`` is where the pictures that its text shows lie."""
    deck = Deck([opening(notebook.cells[0].source)])
    deck.section = deck.slides[0].title.partition(" · ")[2]
    queue = parts(notebook, folder)
    while queue:
        part = queue.pop(0)
        if part.kind == "figure":
            deck.settle()
            pictures = [part]
            while queue and queue[0].kind == "figure" and not part.more:
                pictures.append(queue.pop(0))
            asides = []
            while queue and queue[0].kind == "aside":
                asides.append(queue.pop(0).what)
            caption = queue.pop(0).what if queue and queue[0].kind == "caption" else part.more
            deck.figures([one.what for one in pictures], caption)
            deck.slides[-1].notes += asides
        else:
            if part.kind not in ("printed", "text", "aside", "answer"):
                deck.settle()
            getattr(deck, part.kind)(part.what, *part.rest)
    for slide, following in itertools.pairwise(deck.slides):
        if not slide.shown:  # it is left out, and its notes go on
            following.notes[:0] = slide.notes
    return joined([slide for slide in deck.slides if slide.shown])


def opening(header: str) -> Slide:
    """Return the slide of a lesson's header: its title, its goal, what one will be able to do, the minutes."""
    title, goal, able, *rest = [block for block in header.split("\n\n") if not block.startswith("[![")]
    word, _, verbs = able.partition("** ")
    items = "\n".join(f"- {verb.strip(' .')}" for verb in verbs.split(";"))
    return Slide(title, [goal, f"{word}**\n\n{items}"], notes=rest, kind="opening", closed=True)


def joined(deck: list[Slide]) -> list[Slide]:
    """Put two short slides of words that follow each other in a section onto one."""
    kept = deck[:1]
    for slide in deck[1:]:
        last = kept[-1]
        same = last.title == slide.title and last.kind == slide.kind and slide.kind in ("words", "exercise")
        if same and last.high + slide.high <= BODY and last.words + slide.words <= 640:
            last.shown += slide.shown
            last.notes += slide.notes
            last.high += slide.high
            last.words += slide.words
        else:
            kept.append(slide)
    return kept


def brief(items: str) -> str:
    """Cut the items of a list to their first sentences, so that a long list still fits."""
    parts = re.split(r"\n(?=(?:[-*]|\d+\.) )", items)
    room = max(80, 640 // len(parts))
    marks = [re.match(r"(?:[-*]|\d+\.) ", part)[0] for part in parts]
    texts = [" ".join(part.split())[len(mark) :] for mark, part in zip(marks, parts, strict=True)]
    said = [spoken_of_code(text)[0] or text for text in texts]
    return "\n".join(mark + cut(text, room)[0] for mark, text in zip(marks, said, strict=True))
