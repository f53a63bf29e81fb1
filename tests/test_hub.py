"""A class on a hub: limits follow from what was measured, the example files hold together, the repository builds.

``make hub-test`` measures; it is no part of these tests, which need neither a hub nor root.
"""

import importlib.util
import json
import re
import subprocess
import sys

import pytest
import yaml
from traitlets.config import Config

from helpers.course import ROOT
from tools.hub import accounts, service, table
from tools.lessons import ORDER

DOCS = ROOT / "docs"
PAGE = (DOCS / "hub.md").read_text(encoding="utf-8")
FOUND = json.loads((DOCS / "hub" / "measured.json").read_text(encoding="utf-8"))
VALUES = yaml.safe_load((DOCS / "hub" / "values.yaml").read_text(encoding="utf-8"))

# Of the chart's values.schema.yaml, which refuses any other name; what ends in a dot may hold anything.
CHART = """
singleuser.image.name singleuser.image.tag singleuser.memory.guarantee singleuser.memory.limit singleuser.cpu.guarantee
singleuser.cpu.limit singleuser.extraEnv. singleuser.cmd singleuser.defaultUrl singleuser.startTimeout
singleuser.storage.type singleuser.storage.homeMountPath singleuser.storage.capacity singleuser.storage.extraVolumes
singleuser.storage.extraVolumeMounts hub.config. cull.enabled cull.timeout cull.every prePuller.continuous.enabled
""".split()


def configuration():
    """Run the example as JupyterHub would, and return what it sets."""
    config, path = Config(), DOCS / "hub" / "jupyterhub_config.py"
    exec(compile(path.read_text(encoding="utf-8"), path, "exec"), {"get_config": lambda: config, "__file__": str(path)})
    return config


def names(tree, before=""):
    """Return the dotted names of a file of values."""
    if not isinstance(tree, dict):
        return {before.rstrip(".")}
    return set().union(*(names(value, f"{before}{key}.") for key, value in tree.items()))


def test_the_limits_follow_from_what_was_measured_give_or_take_what_differs_between_two_runs():
    memory, spawner = VALUES["singleuser"]["memory"], configuration().Spawner
    assert (spawner.mem_guarantee, spawner.mem_limit) == (memory["guarantee"], memory["limit"])
    guarantee, limit = (float(memory[name].removesuffix("G")) for name in ("guarantee", "limit"))
    assert table.guarantee(FOUND) <= guarantee <= table.guarantee(FOUND) + 0.3
    assert table.limit(FOUND) <= limit <= table.limit(FOUND) + 0.5


def test_the_limits_leave_room():
    assert FOUND["lessons"][table.LESSON]["peak"] * 1.2 <= table.guarantee(FOUND) * 1024
    assert max(one["peak"] for one in FOUND["lessons"].values()) * 1.4 <= table.limit(FOUND) * 1024
    assert FOUND["together"]["megabytes"]["each"] <= table.guarantee(FOUND) * 1024


def test_the_page_names_the_lessons_that_are_too_large_for_binder():
    peaks = {name: one["peak"] for name, one in FOUND["lessons"].items()}
    said = re.search(r"none of the lessons fits into one, and (.*?) need more than two", " ".join(PAGE.split()))[1]
    assert set(re.findall(r"\*(\w+)\*", said)) == {name for name, peak in peaks.items() if peak > 2048}
    assert min(peaks.values()) > 1024


def test_processors_are_promised_as_they_were_measured():
    promised, most = VALUES["singleuser"]["cpu"]["guarantee"], VALUES["singleuser"]["cpu"]["limit"]
    assert promised == round(FOUND["cores"] / FOUND["students"], 2)
    spawner = configuration().Spawner
    assert spawner.cpu_limit == most == int(spawner.environment["OMP_NUM_THREADS"])
    assert int(VALUES["singleuser"]["extraEnv"]["OMP_NUM_THREADS"]) == most


def test_the_page_shows_what_was_measured():
    (block,) = re.findall(r"<!-- measured -->\n(.*?)\n<!-- end -->", PAGE, re.S)
    assert block == table.markdown(FOUND)


def test_every_check_passed_when_it_was_measured():
    assert FOUND["students"] >= 6 and len(FOUND["checks"]) >= 20
    assert [check["name"] for check in FOUND["checks"] if not check["passed"]] == []
    assert set(FOUND["lessons"]) == set(ORDER)
    assert all(seconds > 0 for part in ("alone", "together") for seconds in FOUND[part]["seconds"].values())
    assert all(seconds > 0 for seconds in FOUND["beside_a_loop"].values())


def test_what_was_measured_says_nothing_about_the_machines_folders():
    assert not re.search(r"/(home|root|srv|work|" + "tm" + r"p|var|usr)\b", json.dumps(FOUND))


def test_the_values_are_those_of_the_chart():
    for name in names(VALUES):
        assert any(name == known or known.endswith(".") and name.startswith(known) for known in CHART), name
    assert VALUES["hub"]["config"]["JupyterHub"]["authenticator_class"] == "null"  # nobody, until it is chosen
    timeout = next(word for word in configuration().JupyterHub.services[0]["command"] if "--timeout" in word)
    assert int(timeout.partition("=")[2]) == VALUES["cull"]["timeout"]


def test_kernels_do_not_listen_on_ports():
    assert configuration().Spawner.args == ["--KernelManager.transport=ipc"]


def test_repo2docker_finds_conda_and_nothing_that_overrides_it():
    assert (ROOT / "environment.yml").is_file()
    others = ("binder", ".binder", "Dockerfile", "default.nix", "Project.toml", "runtime.txt", "start", "apt.txt")
    assert [name for name in others if (ROOT / name).exists()] == []
    step = ROOT / "postBuild"
    assert not step.exists() or step.stat().st_mode & 0o111


@pytest.fixture
def server():
    spec = importlib.util.spec_from_file_location("student_server", DOCS / "hub" / "student_server.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_student_gets_notebooks_of_their_own_beside_links_to_the_rest(server, tmp_path):
    shared, own = tmp_path / "shared", tmp_path / "home" / "course"
    for name in ("helpers", "datasets", "notebooks/figures", "tools"):
        (shared / name).mkdir(parents=True)
    for name in ("notebooks/a.ipynb", "notebooks/figures/b.png", "tools/explore.ipynb", "tools/x.py"):
        (shared / name).write_text("as it comes", encoding="utf-8")
        (shared / name).chmod(0o444)
    server.lay_out(own, shared)
    assert (own / "helpers").readlink() == shared / "helpers" and (own / "datasets").is_symlink()
    assert (own / "notebooks" / "figures" / "b.png").read_text(encoding="utf-8") == "as it comes"
    assert (own / "notebooks" / "a.ipynb").stat().st_mode & 0o200
    assert [path.name for path in (own / "tools").iterdir()] == ["explore.ipynb"]

    (own / "notebooks" / "a.ipynb").write_text("with an answer", encoding="utf-8")
    (shared / "notebooks" / "c.ipynb").write_text("new", encoding="utf-8")
    server.lay_out(own, shared)
    assert (own / "notebooks" / "a.ipynb").read_text(encoding="utf-8") == "with an answer"
    assert (own / "notebooks" / "c.ipynb").read_text(encoding="utf-8") == "new"


def test_the_course_shares_what_the_first_cell_looks_for(server):
    assert ROOT == server.SHARED and (server.SHARED / "helpers" / "course.py").is_file()


def test_without_root_it_says_so_in_a_sentence(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(SystemExit, match="which takes root: run it with sudo, or in a container"):
        service.must_be_root()


def test_each_student_has_a_number():
    assert len({accounts.number_of(name) for name in accounts.NAMES}) == len(accounts.NAMES) >= FOUND["students"]


def test_the_hub_of_the_test_finds_the_course_wherever_it_is_started(tmp_path):
    config = ROOT / "tools" / "hub" / "jupyterhub_config.py"
    imports = config.read_text(encoding="utf-8").partition("SITE = ")[0]
    run = "import sys; exec(compile(sys.argv[2], sys.argv[1], 'exec'), {'__file__': sys.argv[1]})"
    done = subprocess.run(
        [sys.executable, "-P", "-c", run, config, imports], cwd=tmp_path, capture_output=True, encoding="utf-8"
    )
    assert not re.search("No module named 'tools", done.stderr), done.stderr
