"""The answers that lie folded in the lessons, taken out of the notebooks to be tested."""

import re
from collections.abc import Callable

import nbformat
import torch
import torch.nn.functional as F

from tools import lessons


def solution(lesson: str, name: str) -> Callable:
    """Return the function ``name`` of the folded solutions of a lesson, such as "cam", run with torch and F alone."""
    cells = nbformat.read(lessons.path(lesson), as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    folded = re.findall(r"<summary>Solution</summary>(.*?)</details>", text, re.DOTALL)
    blocks = [block for part in folded for block in re.findall(r"```python\n(.*?)```", part, re.DOTALL)]
    (code,) = [block for block in blocks if f"def {name}(" in block]
    space = {"torch": torch, "F": F}
    exec(code, space)  # the course's own text
    return space[name]
