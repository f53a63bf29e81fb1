"""The lessons in their order. Everything knows a lesson by its name; the number in its file's name is looked up here.

Change ORDER, and ``make order`` renames the files and mends every link to them.
"""

import re
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

ORDER = (
    "start_here",
    "look_inside",
    "class_prototypes",
    "saliency",
    "cam",
    "grad_cam",
    "exercises",
    "occlusion",
    "lime_and_shap",
    "better_gradients",
    "cam_family",
    "gradient_free_cams",
    "relevance",
    "feature_visualisation",
    "dream_and_inversion",
    "concepts",
    "transformers",
    "transfer_learning",
    "the_tanks",
    "can_you_trust_it",
    "faithfulness",
    "museum_of_wrong_maps",
    "words",
    "your_own_network",
)


def number(name: str) -> str:
    """Return a lesson's number as its file has it: ``number("cam")`` is "04".

    Raises:
        ValueError: no lesson has this name.
    """
    if name not in ORDER:
        raise ValueError(f"There is no lesson {name!r}; the lessons are {', '.join(ORDER)}.")
    return f"{ORDER.index(name):02d}"


def file_name(name: str) -> str:
    """Return the name of a lesson's notebook: ``file_name("cam")`` is "04_cam.ipynb"."""
    return f"{number(name)}_{name}.ipynb"


def path(name: str, folder: str = "notebooks") -> Path:
    """Return where a lesson's notebook lies, or, in "solutions", that of its answers."""
    return ROOT / folder / file_name(name)


def name_of(notebook: Path) -> str:
    """Return the name of the lesson that a file holds: "cam" for any folder's 04_cam.ipynb."""
    return re.sub(r"^\d+_", "", notebook.stem)


def paths() -> list[Path]:
    """Return the notebooks of all lessons, in order."""
    return [path(name) for name in ORDER]


def chosen(notebooks: Sequence[Path], names: Sequence[str]) -> list[Path]:
    """Return those of some notebooks that hold the lessons named on a command line; without names, all of them.

    Raises:
        SystemExit: one of the names is that of no lesson here, or its notebook is missing.
    """
    here = {name_of(notebook) for notebook in notebooks}
    for name in names:
        if name not in here:
            listed = ", ".join(one for one in ORDER if one in here) or "none"
            raise SystemExit(f"There is no lesson {name!r}; the lessons here are: {listed}.")
    wanted = [notebook for notebook in notebooks if not names or name_of(notebook) in names]
    for notebook in wanted:
        if not notebook.is_file():
            raise SystemExit(f"{notebook} is missing; if ORDER in tools/lessons.py has changed, run: make order")
    return wanted
