"""The data of the projects: whole folders or none, a seed's own pictures, true labels, a network that loads."""

import csv
import importlib.util
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.course import ROOT
from helpers.data import shapes, tanks
from tools import project_data

COUNT = 20


def table(folder):
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def pixels(file):
    return np.asarray(Image.open(file))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    to = tmp_path_factory.mktemp("a folder with blanks")
    return {name: project_data.write(name, seed=7, to=to, count=COUNT) for name in project_data.WRITERS}


@pytest.mark.parametrize("name", project_data.WRITERS)
def test_every_picture_has_a_row_and_every_row_a_picture(folders, name):
    folder = folders[name]
    rows = table(folder)
    pictures = {p.relative_to(folder).as_posix() for p in folder.rglob("*.png") if "masks" not in p.parts}
    assert folder.name == f"{name}_7" and {row["file"] for row in rows} == pictures and len(rows) == len(pictures)
    assert not [path.name for path in folder.parent.iterdir() if path.name.startswith(".")], "nothing is left behind"
    side = 64 if name == "weather" else 128
    assert {pixels(folder / row["file"]).shape for row in rows} == {(side, side, 3)}


def test_the_network_that_was_handed_over_has_the_fault_that_the_notes_describe(folders):
    folder = folders["handover"]
    spec = importlib.util.spec_from_file_location("network", folder / "network.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handed = module.network()
    rows = {part: [row for row in table(folder) if row["part"] == part] for part in ("maker", "yours")}
    answers = {}
    for part, some in rows.items():
        x = handed.preprocess([folder / row["file"] for row in some])
        with torch.no_grad():
            answers[part] = [handed.categories[i] for i in handed.model(x).argmax(1)]
    right = {
        part: np.mean([a == row["object"] for a, row in zip(answers[part], rows[part], strict=True)]) for part in rows
    }
    assert right["maker"] == 1 and right["yours"] <= 0.2
    assert handed.layer == "layer4" and not handed.model.training
    assert "watermark" not in "".join(
        path.read_text("utf-8") for path in folder.glob("*.*") if path.suffix != ".safetensors"
    )
    assert b"watermark" not in (folder / "weights.safetensors").read_bytes(), (
        "the file does not say what it was trained on"
    )

    x = handed.preprocess([folder / row["file"] for row in rows["maker"]])
    other = x.roll(1, 0)

    def exchanged(places):
        changed = x.clone()
        for place in places:
            changed[:, :, *place] = other[:, :, *place]
        with torch.no_grad():
            return [handed.categories[i] for i in handed.model(changed).argmax(1)]

    ends, middle = (slice(0, 22), slice(106, 128)), slice(53, 75)
    corners = [(r, c) for r in ends for c in (slice(0, 24), slice(104, 128))]
    edges = [(r, slice(52, 76)) for r in ends] + [(middle, c) for c in (slice(0, 24), slice(104, 128))]
    before = answers["maker"]
    assert np.mean([a == b for a, b in zip(exchanged(corners), [before[-1], *before[:-1]], strict=True)]) > 0.9
    assert np.mean([a == b for a, b in zip(exchanged(edges), before, strict=True)]) > 0.9, "the control"


def test_the_four_versions_of_a_forest_differ_in_tank_and_sky_alone(folders):
    folder = folders["weather"]
    rows = table(folder)
    assert len(rows) == 4 * COUNT and {row["part"] for row in rows if int(row["forest"]) >= COUNT * 4 // 5} == {"test"}
    assert {row["part"] for row in rows if int(row["forest"]) < COUNT * 4 // 5} == {"train"}
    one = {(row["tank"], row["clouds"]): folder / row["file"] for row in rows if row["forest"] == "3"}
    sky = pixels(folder / "masks" / f"sky_{one['1', '1'].name}") > 0
    tank = pixels(folder / "masks" / f"tank_{one['1', '1'].name}") > 0
    by_sky = (pixels(one["1", "0"]) != pixels(one["1", "1"])).any(2)
    by_tank = (pixels(one["0", "1"]) != pixels(one["1", "1"])).any(2)
    assert by_sky.any() and not (by_sky & ~sky).any() and (by_tank & tank).sum() > 0.5 * tank.sum()
    assert tanks.preprocess(np.stack([pixels(file) for file in one.values()])).shape == (4, 3, 64, 64)


def test_both_objects_have_a_mask_and_a_class(folders):
    folder = folders["choice"]
    rows = table(folder)
    assert [row["part"] for row in rows] == ["choose"] * (COUNT // 2) + ["report"] * (COUNT // 2)
    for row in rows:
        stem = row["file"].partition("/")[2][:-4]
        first, second = (pixels(folder / "masks" / f"{stem}_{which}.png") > 0 for which in ("first", "second"))
        assert first.any() and second.any() and not (first & second).any()
        assert row["first"] != row["second"] and {row["first"], row["second"]} <= set(shapes.CATEGORIES)


def test_another_seed_gives_other_pictures_and_the_same_seed_the_same(folders, tmp_path):
    again, other = (project_data.write("choice", seed=seed, to=tmp_path, count=4) for seed in (7, 8))
    name = "choose/000.png"
    assert (pixels(again / name) == pixels(folders["choice"] / name)).all()
    assert (pixels(again / name) != pixels(other / name)).any()


def test_what_is_there_already_stays_as_it_is(tmp_path):
    folder = project_data.write("choice", to=tmp_path, count=2)
    (folder / "report.md").write_text("mine", encoding="utf-8")
    with pytest.raises(SystemExit, match="is there already and was left as it is: move it away, or give another SEED"):
        project_data.write("choice", to=tmp_path, count=2)
    assert (folder / "report.md").read_text(encoding="utf-8") == "mine"


def test_a_folder_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    def fails(folder, seed):
        (folder / "half.png").write_bytes(b"x")
        raise KeyboardInterrupt

    monkeypatch.setitem(project_data.WRITERS, "choice", fails)
    with pytest.raises(KeyboardInterrupt):
        project_data.write("choice", to=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "seed", "count", "sentence"),
    [
        ("wether", 0, None, "There is no project 'wether'; the projects are handover, weather, choice."),
        ("weather", -1, None, "SEED is -1; give a number that is 0 or more, as in SEED=7."),
        ("choice", 0, 0, "count is 0; give 1 or more."),
        ("choice", 0, -3, "count is -3; give 1 or more."),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_a_sentence(name, seed, count, sentence, tmp_path):
    with pytest.raises(SystemExit) as refusal:
        project_data.write(name, seed, tmp_path, count)
    assert str(refusal.value) == sentence and not list(tmp_path.iterdir())


def test_a_file_is_no_place_for_a_folder(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("mine", encoding="utf-8")
    with pytest.raises(SystemExit, match="is a file; give --to a folder"):
        project_data.write("choice", to=file, count=1)
    assert file.read_text(encoding="utf-8") == "mine"


def test_the_command_says_what_it_has_written(tmp_path, capsys):
    project_data.main(["choice", "--seed", "5", "--to", str(tmp_path), "--count", "2"])
    assert re.match(r"Wrote 7 files into .*choice_5\. docs/projects\.md says what is asked\.", capsys.readouterr().out)


def test_the_lines_of_the_brief_read_a_folder(folders, tmp_path):
    text = (ROOT / "docs" / "projects.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    code = code.replace('"build/projects/choice_7"', repr(str(folders["choice"])))
    done = subprocess.run(
        [sys.executable, "-c", code + "print(len(x), x.shape[1:])"], capture_output=True, cwd=ROOT, encoding="utf-8"
    )
    assert done.stdout.startswith(f"{COUNT // 2} torch.Size([3, 128, 128])"), done.stderr
