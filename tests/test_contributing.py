"""What contributors meet fits the repository: workflows, forms, checks before a commit, and the pages about them."""

import re
import shlex
import tomllib

import pytest
import yaml

from helpers.course import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += [ROOT / name / "README.md" for name in ("datasets", "helpers")] + sorted((ROOT / ".github").glob("*.md"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
FOLDERS = r"\.github|datasets|docs|helpers|notebooks|solutions|tests|tools"
EXAMPLE = "counterfactual_maps"  # the lesson that the pages begin; there is none of this name
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_a_workflow_can_be_read_and_calls_githubs_own_actions_only(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert (
        workflow["name"] and workflow[True] and workflow["permissions"] == {"contents": "read"}
    )  # True: "on", in YAML
    assert not re.search(r"://|www\.|[\w-]+\.(com|org|io|net)\b|secrets\.|--index", path.read_text(encoding="utf-8"))
    for job in workflow["jobs"].values():
        assert re.fullmatch(r"ubuntu-latest", job["runs-on"]) and job["steps"]
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            assert re.fullmatch(r"actions/[\w-]+@v\d+", step.get("uses", "actions/checkout@v4"))


def test_pushes_are_tested_on_the_oldest_and_a_newer_python():
    steps = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in WORKFLOWS}
    assert set(steps) == {"newest", "pages", "tests"}
    pythons = steps["tests"]["jobs"]["test"]["strategy"]["matrix"]["python"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert pythons == ["3.11", "3.13"] and project["requires-python"] == f">={pythons[0]}"
    assert "schedule" in steps["newest"][True] and {"pages", "id-token"} <= set(
        steps["pages"]["jobs"]["deploy"]["permissions"]
    )


@pytest.mark.parametrize("name", ["CHANGELOG.md", ".github", ".pre-commit-config.yaml"])
def test_every_make_command_that_is_named_exists(name):
    paths = [p for p in (ROOT / name).rglob("*") if p.is_file()] if (ROOT / name).is_dir() else [ROOT / name]
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"(?:`|^|run: )make ([a-z-]+)", text, re.M)) <= TARGETS, path.name


def code_in(page):
    """What a page shows as code: blocks, and words between backticks."""
    blocks = re.findall(r"^ *```(?!\{).*?\n(.*?)^ *```", page, re.M | re.S)
    return [*blocks, *re.findall(r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```", "", page, flags=re.M | re.S))]


def missing(page):
    """Commands, modules and files of the course that a page names in code, and that are not here."""
    found = []
    for code in code_in(page):
        found += [f"make {name}" for name in re.findall(r"\bmake ([a-z][a-z-]*)", code) if name not in TARGETS]
        for name in re.findall(r"python -m ((?:tools|helpers)[\w.]*)", code):
            path = ROOT / name.replace(".", "/")
            found += [name] * (not path.with_suffix(".py").exists() and not (path / "__main__.py").exists())
        for name in re.findall(rf"(?<![\w/.-])(?:{FOLDERS})/[\w.*/-]*", code):
            known = re.search(r"^datasets/downloads|\*", name) or EXAMPLE in name
            found += [name] * (not known and not (ROOT / name.rstrip(".")).exists())
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_and_files_that_a_page_names_exist(path):
    assert not missing(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "page",
    ["`make hay`", "```\nmake hay\n```", "`python -m tools.hay --x`", "`helpers/hay.py`", "see `tests/test_hay.py`."],
)
def test_a_command_or_file_that_is_not_here_is_found(page):
    assert len(missing(page)) == 1
    assert not missing("We make hay. `make test`, `python -m tools.hub`, `tools/links.py`, `datasets/downloads/x`")


@pytest.mark.parametrize("path", FORMS, ids=lambda p: p.stem)
def test_an_issue_form_has_what_github_asks_for(path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert form["name"] and form["description"] and form["body"]
    ids = [field["id"] for field in form["body"]]
    assert len(ids) == len(set(ids)) and all(field["attributes"]["label"] for field in form["body"])
    assert {field["type"] for field in form["body"]} <= {"input", "textarea", "dropdown"}


def test_hooks_are_local_and_what_they_call_is_here():
    (local,) = HOOKS
    assert local["repo"] == "local" and len({hook["id"] for hook in local["hooks"]}) == len(local["hooks"])
    rules = (ROOT / "tests" / "test_repository.py").read_text(encoding="utf-8")
    for hook in local["hooks"]:
        python, *words = shlex.split(hook["entry"])
        assert python == ".venv/bin/python" and hook["language"] == "system" and hook["name"]
        assert all((ROOT / word).exists() for word in words if word.endswith(".py"))
        for part in words[words.index("-k") + 1].split(" or ") if "-k" in words else []:
            assert re.search(rf"^def test_\w*{part}", rules, re.M), part


def test_the_changelog_knows_this_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    unreleased, newest = re.findall(r"^## (.*)$", CHANGELOG, re.M)[:2]
    assert unreleased == "[Unreleased]" and citation["version"] == project["version"]
    assert newest == f"[{project['version']}] - {citation['date-released']}"
    assert set(re.findall(r"^### (.*)$", CHANGELOG, re.M)) <= {
        "Added", "Changed", "Deprecated", "Removed", "Fixed", "Security",
    }  # fmt: skip
