"""COURSE_SEED=k moves every seed of a lesson, and leaves nothing else changed; without it nothing moves."""

import json
import os
import subprocess
import sys

import pytest

from helpers import course
from helpers.course import ROOT

DRAWN = """
import json, random
from helpers import course
course.begin()
course.begin()
import numpy as np, torch
from helpers import attribution, training
from helpers.data import real_digits, shapes
net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(72, 2))
for n, p in enumerate(net.parameters()):
    p.data = torch.linspace(-1, 1, p.numel()).view(p.shape).roll(n)
x = torch.linspace(0, 1, 192).view(1, 3, 8, 8)  # many ReLUs near zero, so that noise counts
found = {"generator": torch.rand(1, generator=torch.Generator().manual_seed(0)).item()}
torch.manual_seed(0); found["torch"] = torch.rand(1).item()
random.seed(0); found["python"] = random.random()
np.random.seed(0); found["old numpy"] = np.random.rand()
found["numpy"], found["several"] = np.random.default_rng(0).random(), np.random.default_rng((0, 1)).random()
found["shapes"] = float(shapes.one(1, 3000).images.mean())
found["split"] = real_digits.load(train=False)[1][:30].tolist()
found["noise of a method"] = attribution.smooth_grad(net, x - 0.5, 0, samples=2, level=1.0).abs().sum().item()
training.seed_everything(0); found["everything"] = [torch.rand(1).item(), random.random()]
print(json.dumps(found))
"""


def drawn(**environment):
    """The line of the set-up cell, and what is drawn behind it."""
    clean = {key: value for key, value in os.environ.items() if key != "COURSE_SEED"}
    run = subprocess.run(
        [sys.executable, "-c", DRAWN],
        cwd=ROOT,
        env={**clean, "COURSE_WORLD": "course", **environment},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return run.stdout.splitlines()[0], json.loads(run.stdout.splitlines()[-1])


def test_every_seed_moves():
    (said, plain), (told, moved) = drawn(), drawn(COURSE_SEED="2")
    assert [name for name in plain if plain[name] == moved[name]] == []
    assert "seeds" not in said and told.endswith("seeds moved by 2")


@pytest.mark.parametrize("value", ["-1", "1.5", "one"])
def test_a_seed_that_cannot_be(monkeypatch, value):
    monkeypatch.setenv("COURSE_SEED", value)
    with pytest.raises(ValueError, match="COURSE_SEED is .*; set it to a whole number, 0 or more"):
        course.seed_shift()
