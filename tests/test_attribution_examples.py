"""The docstrings of helpers.attribution and helpers.hooks: every argument written out, and an example that runs."""

import doctest
import importlib
import inspect
import re

import pytest

from helpers import attribution, hooks

OTHERS = {"full_grad", "relevance", "relu_rule", "surrogates", "attention"}  # modules with docstrings of another form
PUBLIC = {
    f"{room.__name__.split('.')[-1]}.{name}": getattr(room, name)
    for room in (attribution, hooks)
    for name in room.__all__
    if getattr(room, name).__module__.split(".")[-1] not in OTHERS
}
every_public = pytest.mark.parametrize("name", PUBLIC)


@every_public
def test_the_example_runs(name):
    function = PUBLIC[name]
    home = importlib.import_module(function.__module__)
    (test, *_) = doctest.DocTestFinder().find(function, function.__name__, module=home, globs={})
    assert len(test.examples) >= 3, "no example that runs"
    said = []
    result = doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert result.failed == 0, "".join(said)


@every_public
def test_every_argument_is_written_out(name):
    function = PUBLIC[name]
    if inspect.isclass(function):
        pytest.skip("a class without arguments of its own")
    text = inspect.getdoc(function)
    for argument in inspect.signature(function).parameters:
        assert re.search(rf"^    {argument}: \S", text, re.M), f"{argument} is not explained"
    assert "as for :func:" not in text
    for part in ("Args:", "Raises:"):
        assert part in text, f"no {part}"
