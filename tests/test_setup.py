"""The set-up: packages are named once, pins hold no address, every way to install gives the same packages."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml

from helpers.course import DATASETS, ROOT, shipped_files

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
PACKAGES = [*PROJECT["dependencies"], *EXTRAS["test"], *EXTRAS["compare"]]


def name_of(requirement):
    return re.match(r"[A-Za-z0-9_.-]+", requirement).group().lower().replace("_", "-")


def test_every_package_is_named_once():
    names = [name_of(package) for package in PACKAGES]
    assert len(names) == len(set(names))
    libraries = {name_of(package) for package in EXTRAS["compare"]}
    assert libraries == {"captum", "grad-cam", "lime", "shap", "torchcam", "zennit"}


def test_environment_yml_has_the_packages_of_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert sorted(pip) == sorted(PACKAGES)
    (python,) = [entry for entry in conda if entry.startswith("python=")]
    assert python >= "python=" + PROJECT["requires-python"].removeprefix(">=")


def test_requirements_pin_every_package_and_hold_no_address():
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    pinned = {name_of(line) for line in text.splitlines() if "==" in line}
    assert {name_of(package) for package in PACKAGES} <= pinned
    assert all(re.match(r"[a-zA-Z0-9._-]+==[^ ]+( ;.*)?$", line) for line in text.splitlines())
    assert not re.search(r"://|--|@", text)


def test_opencv_comes_once_and_without_a_screen():
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert re.findall(r"^opencv[a-z-]*", text, re.M) == ["opencv-python-headless"]


def test_shipped_files_are_whole_and_all_listed():
    listed = shipped_files()
    assert [name for name, whole in listed.items() if not whole] == []
    data = [
        file.relative_to(DATASETS) for file in DATASETS.rglob("*") if file.suffix in {".gz", ".png", ".safetensors"}
    ]
    assert {file.as_posix() for file in data if file.parts[0] != "downloads"} == set(listed)


def test_shipped_weights_are_small():
    sizes = [file.stat().st_size for file in (DATASETS / "weights").glob("*.safetensors")]
    assert len(sizes) == 7 and sum(sizes) < 12e6


def test_make_offers_what_the_readme_promises():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {"lab", "explore", "test", "env", "data", "solutions", "lock", "new", "order"} <= targets
    assert set(re.findall(r"make ([a-z-]+)", readme)) <= targets
    assert (
        "make test" in readme and (ROOT / ".ci" / "run").read_text(encoding="utf-8").split("\n")[-2] == "make test-all"
    )


def made(tmp_path, *words):
    """What make passes to Python, word by word, and what it says; without .venv, by a stand-in that prints."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n", encoding="utf-8")
    python.chmod(0o755)
    command = ["make", "-s", "-o", ".venv/installed", f"BIN={python.parent}", *words]
    # as if started by hand: a make that runs these tests hands its own words on
    given = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKEOVERRIDES", "ARGS")}
    done = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, encoding="utf-8")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")], done.stderr


@pytest.mark.skipif(not shutil.which("make"), reason="make is not here")
@pytest.mark.parametrize("name", ["my class", 'Ann\'s "class"', "a;b & (c) `d` *", "5$ $(x) $$ ${y} #1 \\", "$HOME x"])
@pytest.mark.parametrize("where", ["word", "environment"])
def test_make_takes_folders_with_blanks_quotes_and_dollars(tmp_path, monkeypatch, name, where):
    if where == "environment":
        monkeypatch.setenv("IN", name)
    given = [f"IN={name}"] if where == "word" else []
    ((script, *words),), said = made(tmp_path, "grade", *given, "ARGS=--exam 7")
    assert script.endswith("grade.py") and words == [name, "--exam", "7"] and not said


@pytest.mark.skipif(not shutil.which("make"), reason="make is not here")
@pytest.mark.parametrize(
    ("words", "passed"),
    [
        (["new", "LESSON=a b", "AFTER=c d"], [["-m", "tools.new_lesson", "a b", "--after", "c d"]]),
        (["new", "LESSON=a"], [["-m", "tools.new_lesson", "a", "--after", ""]]),
        (["links"], [["-m", "tools.links", ""]]),
        (["links", "REPO=a b"], [["-m", "tools.links", "a b"]]),
        (["links", "REPO=$a/$(b)"], [["-m", "tools.links", "$a/$(b)"]]),
        (["slides", "ARGS=cam grad_cam"], [["-m", "tools.slides", "cam", "grad_cam"]]),
        (["exam"], [["solutions/make_exam.py"]]),
        (
            ["exam", "SEED_FILE=my seed", "BANK=$a"],
            [["solutions/make_exam.py", "--seed-file", "my seed", "--bank", "$a"]],
        ),
        (["exam", "SEED=7"], []),
        (["order"], [["-m", "tools.order"]]),
        (["grade"], []),
        (["new"], []),
    ],
)
def test_make_passes_on_what_it_is_given_and_asks_for_what_it_needs(tmp_path, words, passed):
    got, said = made(tmp_path, *words)
    assert got == passed and bool(said) == (not passed)
    assert passed or re.search(rf"(which (folder|name)\?|into a file,) make {words[0]} [A-Z_]+=", said)


def test_make_test_all_is_make_test_and_every_test_that_waits_for_it():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^test-all: test ", makefile, re.M)
    slow = re.search(r"^SLOW := \$\(patsubst %,tests/test_%.py,(.*)\)$", makefile, re.M)[1].split()
    texts = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py")}
    waiting = {name for name, text in texts.items() if re.search(r"environ\.get\(.COURSE_ALL.\) != ", text)}
    assert {f"test_{name}" for name in slow} == waiting
