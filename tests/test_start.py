"""A lesson starts fast: what takes seconds to import comes in only where it is used."""

import json
import os
import subprocess
import sys

import pytest

from helpers.course import ROOT
from helpers.data.fetched import public_files
from helpers.models.load import COURSE_NETS, FAMILIAR
from tools import lessons

HEAVY = {
    *("torchvision", "torch._dynamo", "torch._inductor", "sympy", "matplotlib.pyplot", "IPython", "ipywidgets"),
    *("scipy", "skimage", "sklearn", "nltk", "pandas"),
}
ROOMS = "attribution, course, data, evaluation, hooks, models, plotting, synthesis, training"
LESSON = """
import torch
from helpers import plotting
from helpers.data import digits, load_digits, pictures, planted_cues, read_picture, reviews, shapes, tanks
from helpers.models import load_classifier

for name in NAMES:
    net = load_classifier(name)
    net.model(net.preprocess(pictures(net, 2)))
load_digits(), load_digits(train=False), digits.generate(2), tanks.scenes(1), reviews.reviews(2)
image = planted_cues.planted(1, watermark=1).images[0]
plotting.compare(read_picture(image), {"map": torch.rand(8, 8)}).savefig(io.BytesIO(), format="png")
plotting.curves({"a": [1, 2]}), plotting.word_bars(["a"], {"b": [1]}), plotting.grid([image])
plotting.intervals({"a": {"b": (0.5, 0.1)}}), plotting.draw_network(load_classifier("shapes_vgg").model, (3, 128, 128))
"""


def imported(code, world="course", **environment):
    """The heavy modules that a fresh Python holds after running ``code``."""
    code += f"\nimport json, sys; print(json.dumps(sorted(set(sys.modules) & set({sorted(HEAVY)}))))"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "COURSE_WORLD": world, **environment},
        capture_output=True,
        check=False,
        encoding="utf-8",
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def test_the_first_lesson_up_to_its_first_picture():
    cells = json.loads(lessons.path("start_here").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    kinds = [{kind for out in cell["outputs"] for kind in out.get("data", {})} for cell in code]
    shown = [bool(found & {"image/png", "image/jpeg"}) for found in kinds]
    first = code[: shown.index(True) + 1]
    assert len(first) >= 2, "the set-up, and the cell with the picture"
    assert imported("\n".join("".join(cell["source"]) for cell in first)) == []


def test_all_rooms_at_once():
    assert imported(f"import torch\nfrom helpers import {ROOMS}\ncourse.begin()") == []


@pytest.mark.parametrize("world", ["course", "auto"])
def test_a_lesson_of_the_course_world(world):
    """Its nets, data, generators and figures; in "auto" as well, with no network: the tests allow none."""
    names = [*COURSE_NETS, *(FAMILIAR if world == "course" else ())]
    assert imported(f"import io\nNAMES = {names}\n{LESSON}", world) == []


def test_what_is_heavy_comes_when_it_is_asked_for():
    """So that the tests above cannot pass by looking at the wrong names."""
    segments = "from skimage.segmentation import slic"
    misspelt = "from helpers.models import load_classifier\ntry: load_classifier('resnet81')\nexcept ValueError: pass"
    assert {"skimage", "torchvision"} <= set(imported(f"{segments}\n{misspelt}"))


def test_names_that_are_known_without_torchvision_are_its_own():
    assert set(FAMILIAR) <= set(public_files.nets())


def test_the_files_of_mnist_are_those_that_torchvision_fetches():
    from torchvision.datasets import MNIST

    assert list(public_files.MNIST_FILES.items()) == [tuple(pair) for pair in MNIST.resources]
