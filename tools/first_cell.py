"""The first cell of every notebook: what stands below the mark; ``make links`` puts it there. Edit it here only."""
# ruff: noqa: E402

# %%
# @title Set-up, the same in every lesson: find the course, or on Colab and Kaggle fetch it
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch starts: keeps a busy machine quick
home = next((p for p in (Path.cwd(), *Path.cwd().parents) if (p / "helpers/course.py").is_file()), None)
problem = "The course is not here: open this notebook inside the course's own folder."
if home is None and ("google.colab" in sys.modules or "KAGGLE_KERNEL_RUN_TYPE" in os.environ):
    clone = "git clone -q --depth 1 https://github.com/seeing-inside-cnns/seeing-inside-cnns course"
    git = subprocess.run(f"test -d course/helpers || {clone}", shell=True, capture_output=True, encoding="utf-8")
    problem = f"No course ({' '.join(git.stderr.splitlines()[:1])}): see that the internet is on, then run this again."
    if git.returncode == 0:  # small packages, if they can be had; torch and numpy stay as they are
        os.system(f"{sys.executable} -m pip install -qqq --no-deps -r course/tools/colab_packages.txt")
        home = Path("course").resolve()
        os.chdir(home / "notebooks")
if home is None:
    stop = FileNotFoundError(problem)
    stop._render_traceback_ = lambda: [problem]  # one sentence in place of a traceback
    raise stop
sys.path.insert(0, str(home))
from helpers import course

course.begin()
