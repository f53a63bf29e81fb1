"""Tables on slides: data frames as they were saved, what a cell printed, and tables of the text, at a readable size."""

import html
import math
import re
from dataclasses import dataclass, replace

from bs4 import BeautifulSoup

ROWS = 10  # more are for the notes
WIDTH, HIGH = 1152, 460  # pixels
AGAIN = 330  # pixels: the height of a table that is shown a second time
SMALLEST, LARGEST = 18, 30  # pixels
CHATTER = re.compile(
    r"Not answered|World:|Digits: |In place of|Your machine|Files that|pip install|^(torch\w*|numpy|matplotlib|pillow|"
    r"jupyterlab) \d|(captum|torchcam)\w* (gives|is)|gives? the same|seconds|forward pass takes|\d+ threads"
)


@dataclass(frozen=True)
class Table:
    """A table: its head and its rows, each a list of cells as HTML; the first cell of a row is its name."""

    head: list[str]
    rows: list[list[str]]

    @property
    def size(self) -> int:
        """Return the size of the letters, in pixels: as large as its columns and a sentence below it leave room for."""
        if any(_long(cell) > 34 for row in self.rows for cell in row):  # sentences, which may break
            return max((size for size in range(SMALLEST, 27) if self.height(size) <= HIGH - 60), default=SMALLEST)
        needed = sum(0.5 * width + 1.0 for width in _widths(self))  # in units of the letters' size
        size = int(min(LARGEST, max(SMALLEST, WIDTH / needed)))
        while size > SMALLEST and self.height(size) > HIGH:
            size -= 1
        return size

    @property
    def high(self) -> int:
        """Return the height of the table as far as it is shown, in pixels."""
        return self.height(self.size)

    def height(self, size: int) -> int:
        """Return the height of the table with letters of that size, in pixels."""
        widths = [max(1.0, width) for width in _widths(self)]
        space = WIDTH / 0.5 / size - 1.8 * len(widths)
        shrunk = min(1.0, space / sum(widths))
        lines = []
        for row in [self.head] * any(self.head) + self.rows[:ROWS]:
            lines.append(max(math.ceil(_long(cell) / (w * shrunk + 1)) for cell, w in zip(row, widths, strict=False)))
        return round(sum(1.3 * size * count + 9 for count in lines) + 20 + 30 * (len(self.rows) > ROWS))

    @property
    def shown(self) -> str:
        """Return the first rows as HTML; below it stands how many more there are."""
        more = len(self.rows) - ROWS
        below = f'<p class="more">and {more} more row{"s" * (more > 1)}, in the notes</p>' if more > 0 else ""
        return f'<div class="table" style="font-size: {self.size}px">{_html(self.head, self.rows[:ROWS])}{below}</div>'

    @property
    def again(self) -> tuple[str, int]:
        """Return the table so that an answer has room below it, and its height: small, perhaps its first rows alone."""
        count = len(self.rows)
        while count > 3 and replace(self, rows=self.rows[:count]).height(SMALLEST) > AGAIN:
            count -= 1
        less = replace(self, rows=self.rows[:count])
        more = '<p class="more">and the other rows</p>' * (count < len(self.rows))
        size = next(
            size for size in range(self.size, SMALLEST - 1, -1) if less.height(size) <= AGAIN or size == SMALLEST
        )
        shown = f'<div class="table" style="font-size: {size}px">{_html(less.head, less.rows)}{more}</div>'
        return shown, less.height(size) + 30 * bool(more)

    @property
    def rest(self) -> str:
        """Return the whole table, if not all of it is shown."""
        return _html(self.head, self.rows) if len(self.rows) > ROWS else ""


def _text(cell: str) -> str:
    return " ".join(BeautifulSoup(cell, "html.parser").get_text().split())


def _long(cell: str) -> int:
    return len(_text(cell))


def _widths(table: Table) -> list[float]:
    """Return how many characters wide each column has to be: heads are broken between words, long cells too."""
    widths = []
    for number, head in enumerate(table.head):
        words = [len(word) for word in re.split(r"[\s_-]+", _text(head))]
        cells = [_long(row[number]) for row in table.rows[:ROWS] if number < len(row)]
        widths.append(max([*words, *(min(cell, 34) for cell in cells), min(_long(head) / 2, 16)]))
    return widths


def _html(head: list[str], rows: list[list[str]]) -> str:
    words = [i for i in range(len(head)) if 2 * sum(_is_words(row[i]) for row in rows if i < len(row)) > len(rows)]
    body = "".join(_row(row, "td", words) for row in rows)
    top = f"<thead>{_row(head, 'th', words)}</thead>" if any(head) else ""
    return f"<table>{top}<tbody>{body}</tbody></table>"


def _row(cells: list[str], other: str, words: list[int]) -> str:
    """Return a row as HTML; its first cell is a name, which is not broken if it is short."""
    short = " class=name" * (_long(cells[0]) <= 30)
    side = [" class=words" * (number in words) for number in range(len(cells))]
    rest = "".join(f"<{other}{side[i]}>{cell}</{other}>" for i, cell in enumerate(cells) if i)
    return f"<tr><th{short}>{cells[0]}</th>{rest}</tr>"


def _is_words(cell: str) -> bool:
    """Say whether a cell holds words, which may break, and not a number: also a sentence that begins with a number."""
    return bool(re.match(r"[^\W\d]{2}", _text(cell))) or _long(cell) > 34


def from_frame(page: str) -> Table | None:
    """Read a data frame as a notebook saves it; nothing, if there is no table in the page.

    A head of several rows becomes one, and a table with more columns than fit is turned round.
    """
    soup = BeautifulSoup(page, "html.parser")
    rows = soup.find_all("tr")
    if not rows or not soup.find("table"):
        return None
    grid = _grid([[cell for cell in row.find_all(["th", "td"])] for row in rows])
    heads = len(soup.thead.find_all("tr")) if soup.thead else 0
    width = max(map(len, grid))
    grid = [row + [""] * (width - len(row)) for row in grid]
    top = [" ".join(dict.fromkeys(filter(None, column))) for column in zip(*grid[:heads], strict=True)] or [""] * width
    table = Table(top, grid[heads:])
    columns = zip(table.head[1:], *(row[1:] for row in table.rows), strict=True)
    turned = Table([table.head[0], *(row[0] for row in table.rows)], [list(column) for column in columns])
    if len(turned.rows) > ROWS and len(turned.head) == 2:  # names and numbers in two columns each
        half = -(-len(turned.rows) // 2)
        beside = turned.rows[half:] + [["", ""]] * (2 * half - len(turned.rows))
        turned = Table(turned.head * 2, [[*one, *two] for one, two in zip(turned.rows, beside, strict=False)])
    fits = sum(0.5 * wide + 1.0 for wide in _widths(table)) * SMALLEST <= WIDTH
    return turned if not fits and len(table.rows) <= ROWS and len(turned.rows) <= ROWS + 3 else table


def _grid(rows: list[list]) -> list[list[str]]:
    """Return the cells of rows as HTML, one for each place: what spans several places stands in each."""
    filled: dict[tuple[int, int], str] = {}
    for y, row in enumerate(rows):
        x = 0
        for cell in row:
            while (y, x) in filled:
                x += 1
            inner = html.escape(" ".join(cell.get_text().split()), quote=False)
            for below in range(int(cell.get("rowspan", 1))):
                for right in range(int(cell.get("colspan", 1))):
                    filled[y + below, x + right] = inner if below == 0 else ""
            x += int(cell.get("colspan", 1))
    return [[filled[y, x] for x in range(1 + max(x for v, x in filled if v == y))] for y in range(len(rows))]


def from_printed(text: str) -> tuple[str, int]:
    """Return what a cell printed as HTML and its height, whole; nothing, if it is long or says nothing of the subject.

    Lines in columns become a table.
    """
    lines = [line.rstrip() for line in text.strip("\n").splitlines() if line.strip() and not CHATTER.search(line)]
    if not lines or len(lines) > ROWS or len("".join(lines)) > 640:
        return "", 0
    parts = [re.split(r"\s{2,}", line.strip()) for line in lines]
    if len({len(row) for row in parts}) > 1 and all(re.search(r"\s[\d.,%-]+$", line) for line in lines):
        parts = [re.sub(r"\s{2,}", " ", line.strip()).rsplit(" ", 1) for line in lines]  # one name fills its column
    parts = [[html.escape(part, quote=False) for part in row] for row in parts]
    if len(lines) > 1 and len({len(row) for row in parts}) == 1 and len(parts[0]) > 1:
        table = Table([""] * len(parts[0]), parts)
        return table.shown, table.high
    shown = "<br>".join(html.escape(line, quote=False) for line in lines)
    high = sum(math.ceil(len(line) / 88) for line in lines) * 34 + 34
    return f'<p class="printed">{shown}</p>', high


def from_markdown(text: str) -> tuple[str, int, str]:
    """Return a table of the text as markdown in its size, its height, and the whole where rows are left out."""
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))] for line in text.splitlines()]
    head, rows = rows[0], [row for row in rows[2:] if row]
    plain = Table([re.sub(r"[*`$\\]", "", cell) for cell in head],
                  [[re.sub(r"[*`$\\]", "", cell) for cell in row] for row in rows])  # fmt: skip
    count = len(rows)
    while count > 3 and replace(plain, rows=plain.rows[:count]).high > 570:
        count -= 1
    count = min(count, ROWS)
    cut = replace(plain, rows=plain.rows[:count])
    lines = text.splitlines()
    left = len(rows) - count
    more = f'<p class="more">and {left} more row{"s" * (left > 1)}, in the notes</p>' if left else ""
    shown = "\n".join(lines[: 2 + count])
    size = max(
        (size for size in range(SMALLEST, 27) if cut.height(size) <= 340), default=cut.size
    )  # its cells may break
    whole = f'<div class="table text" style="font-size: {size}px">\n\n{shown}\n\n{more}</div>'
    return whole, cut.height(size), text * bool(left)


def from_words(page: str, most: int = 590) -> tuple[str, int, str]:
    """Return coloured words as HTML as far as they fit, their height, and the paragraphs that do not fit."""
    soup = BeautifulSoup(page, "html.parser")
    shown, rest, high = [], [], 0
    for part in soup.find_all("p") or [soup]:
        text = part.get_text()
        more = (math.ceil(len(text) / 88) + bool(part.find("strong"))) * 42 + 22
        if shown and (rest or high + more > most):
            rest.append(text)
        else:
            high += more
            shown.append(re.sub("line-height: ?[0-9.]+", "line-height:1.6", str(part)))
    return f'<div class="coloured">{"".join(shown)}</div>', high, "\n\n".join(rest)
