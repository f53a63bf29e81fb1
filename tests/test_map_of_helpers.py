"""helpers/README.md is right: every path exists, every module and lesson has its place, the arrows are the rule's."""

import re

from test_repository import LESSONS, MAY_IMPORT, dotted, imported, modules

from helpers.course import ROOT

README = ROOT / "helpers" / "README.md"
TEXT = README.read_text(encoding="utf-8")


def test_every_path_exists():
    paths = re.findall(r"\]\(([^)#]+)\)", TEXT) + re.findall(r"`([\w/]+(?:\.py|/))`", TEXT)
    paths = [path for path in paths if path.split("/")[0] not in ("tools", "solutions", "tests")]
    assert len(paths) > 50 and [path for path in paths if not (README.parent / path).exists()] == []


def test_every_module_that_a_reader_may_look_for_is_named():
    rooms = ("models", "hooks", "attribution", "synthesis", "evaluation", "plotting", "data", "report")
    mine = [p for room in rooms for p in (README.parent / room).glob("*.py") if p.stem != "__init__"]
    missing = {p.relative_to(README.parent).as_posix() for p in mine} - set(re.findall(r"[\w/]+\.py", TEXT))
    assert missing == set()


def test_every_folder_inside_of_a_room_is_named():
    inner = {p.parent.relative_to(README.parent).as_posix() for p in README.parent.glob("*/*/__init__.py")}
    assert inner and inner <= set(re.findall(r"\]\(([\w/]+)\)", TEXT))


def test_the_rooms_are_counted_and_named():
    rooms = {path.name for path in README.parent.iterdir() if (path / "__init__.py").is_file()}
    assert len(rooms) == 10 and TEXT.split("\n")[2].startswith("Ten rooms and two single modules.")
    row = next(
        line for line in (ROOT / "docs/start.md").read_text("utf-8").splitlines() if line.startswith("| `helpers/`")
    )
    assert "in ten rooms:" in row and set(re.findall(r"`(\w+)`", row)) == rooms


def test_every_lesson_has_a_row():
    rows = re.findall(r"^\| \*(\w+)\* \| .+ \| `", TEXT, re.M)
    assert rows == [path.stem[3:] for path in LESSONS]


def arrows():
    picture = re.search(r"```mermaid\nflowchart TD\n(.*?)```", TEXT, re.S)[1]
    edges = {}
    for line in picture.strip().splitlines():
        room, others = line.split("-->")
        edges[room.strip()] = {other.strip() for other in others.split("&")}
    return edges


def reached(room, edges):
    found = set(edges.get(room, ()))
    for other in set(found):
        found |= reached(other, edges)
    return found


def test_the_picture_shows_the_rule():
    edges = arrows()
    for room, allowed in MAY_IMPORT.items():
        assert allowed <= reached(room, edges), room
    assert all(others <= MAY_IMPORT[room] for room, others in edges.items())


def test_the_rule_allows_nothing_that_is_not_used():
    used = {room: set() for room in MAY_IMPORT}
    for path in modules():
        room, *_ = [*dotted(path).split(".")[1:], ""]
        used.setdefault(room, set()).update(name.split(".")[1] for name in imported(path) if "." in name)
    assert {room: used[room] - {room} for room in MAY_IMPORT} == MAY_IMPORT
