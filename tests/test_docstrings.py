"""Every public name of helpers says in its docstring what it takes and gives, and shows it in an example that runs."""

import ast
import doctest
import importlib
import inspect
import json
import pkgutil
import re

import matplotlib
import pytest
import torch

from helpers.course import ROOT

ROOMS = ("hooks", "models", "data", "attribution", "synthesis", "evaluation", "plotting", "explorer", "report")
TOP = {"helpers.training", "helpers.course"}  # modules whose own functions are public names


def public():
    """Every public function and class by its dotted name: of the rooms, the modules at the top, the generators."""
    found = {}
    for room in ROOMS:
        module = importlib.import_module(f"helpers.{room}")
        found |= {f"helpers.{room}.{name}": getattr(module, name) for name in module.__all__}
    for name in TOP:
        module = importlib.import_module(name)
        own = {n: v for n, v in vars(module).items() if getattr(v, "__module__", "") == name and n[0] != "_"}
        found |= {
            f"{name}.{n}": value for n, value in own.items() if inspect.isroutine(value) or inspect.isclass(value)
        }
    for part in pkgutil.iter_modules(importlib.import_module("helpers.data").__path__, "helpers.data."):
        if not part.ispkg:  # the generators: data.shapes.two, data.tanks.scenes, ...
            module = importlib.import_module(part.name)
            own = {n: v for n, v in vars(module).items() if inspect.isfunction(v) and v.__module__ == part.name}
            found |= {f"{part.name}.{n}": value for n, value in own.items() if n[0] != "_"}
    return {n: v for n, v in found.items() if inspect.isroutine(v) or inspect.isclass(v)}


PUBLIC = public()
every_name = pytest.mark.parametrize("name", sorted(PUBLIC))
every_function = pytest.mark.parametrize("name", sorted(n for n, v in PUBLIC.items() if inspect.isfunction(v)))


@every_name
def test_the_example_runs(name):
    examples = doctest.DocTestFinder(recurse=False).find(PUBLIC[name], name, globs={})
    (found,) = [test for test in examples if test.examples] or [None]
    assert found, f"{name} has no example"
    said, state = [], torch.random.get_rng_state()
    with matplotlib.rc_context():
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        runner.run(found, out=said.append)
    torch.random.set_rng_state(state)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


@every_function
def test_every_argument_is_written_out(name):
    text = inspect.getdoc(PUBLIC[name])
    assert not re.search(r"\bas for :?\w*:?`|[Aa]rguments?,? (shapes |and errors )?as (for|in)", text), text
    arguments = [a for a in inspect.signature(PUBLIC[name]).parameters if a not in ("self",)]
    if len(arguments) > 1:
        missing = [a for a in arguments if not re.search(rf"\b{re.escape(a)}\b", text)]
        assert not missing, f"{name} says nothing of {missing}"


def test_a_missing_or_false_example_is_noticed(monkeypatch):
    def without():
        """Return one."""

    def false():
        """Return one.

        >>> 1 + 1
        3
        """

    monkeypatch.setitem(PUBLIC, "without", without)
    monkeypatch.setitem(PUBLIC, "false", false)
    with pytest.raises(AssertionError, match="no example"):
        test_the_example_runs("without")
    with pytest.raises(AssertionError, match="Expected"):
        test_the_example_runs("false")


def test_a_public_name_has_one_place():
    homes = {}
    for name, value in PUBLIC.items():
        homes.setdefault(id(value), set()).add(name.split(".")[1])
    assert all(len(rooms) == 1 for rooms in homes.values())


def code_of(path):
    if path.suffix == ".py":
        return path.read_text(encoding="utf-8")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def users():
    """Notebooks, and the Python files that use helpers from outside."""
    for folder in ("notebooks", "solutions", "tools", "tests"):
        yield from sorted(p for kind in ("*.py", "*.ipynb") for p in (ROOT / folder).rglob(kind))


@pytest.mark.parametrize("path", users(), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_public_name_is_taken_from_its_room(path):
    """``from helpers.models import load_classifier``, never from the module inside the room."""
    for node in ast.walk(ast.parse(code_of(path))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("helpers."):
            _, room, *inside = node.module.split(".")
            for alias in node.names if inside else []:
                assert f"helpers.{room}.{alias.name}" not in PUBLIC, f"take {alias.name} from helpers.{room}"
                if path.suffix == ".ipynb":
                    assert not alias.name.startswith("_") and not inside[-1].startswith("_"), alias.name
