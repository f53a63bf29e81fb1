"""Write the playground into a folder: the page, its networks, its pictures, and onnxruntime-web.

Nothing of this is committed. The networks are made from the course's weights, and kept in build/onnx until weights or
exporter change; the pictures come from the course's generators and packages; npm fetches onnxruntime-web once.
"""

import html
import json
import re
import shutil
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from helpers.data import UNSEEN, load_digits, mosaics, photographs
from helpers.data.shapes import CATEGORIES, one, two
from helpers.evaluation import hull
from helpers.models import Classifier, load_classifier
from helpers.models.efficientnet_lite0 import cut_out
from tools.lessons import path as lesson_path
from tools.npm import fetch
from tools.playground.export import NETWORKS, state_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = Path(__file__).resolve().parent / "page"
RUNTIME = "onnxruntime-web@1.30.0"
RUNTIME_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
SAMPLES = 20  # digits, two of each
MOSAICS = 6
MOSAIC_OF = ("coffee", "camera", "chelsea", "motorcycle", "rocket")  # what the network names rightly, or nearly


def write_networks(folder: Path) -> None:
    """Write the ONNX files; those that were made before, from the same weights and in the same way, are copied."""
    kept = ROOT / "build" / "onnx"
    kept.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True)
    for name, (network, write) in NETWORKS.items():
        file = kept / f"{name}-{state_of(network)}.onnx"
        if not file.exists():
            for old in kept.glob(f"{name}-*.onnx"):
                old.unlink()
            unfinished = file.with_suffix(".part")
            write(unfinished)
            unfinished.replace(file)  # whole or not at all
        shutil.copyfile(file, folder / f"{name}.onnx")


def biases_of(classifier: Classifier) -> list[float]:
    """Return the biases of the last linear layer."""
    return classifier.model.fc.bias.tolist()


def strip(images: np.ndarray) -> Image.Image:
    """Return pictures of one size, uint8 [N, H, W] or [N, H, W, 3], side by side."""
    return Image.fromarray(np.concatenate(list(images), 1))


def write_digits(folder: Path) -> list[int]:
    """Write sample digits, real ones where they are here, and return what they are."""
    digits = load_digits(train=False)
    chosen = [(digits.labels == label).nonzero()[turn].item() for turn in range(SAMPLES // 10) for label in range(10)]
    grey = (digits.images[chosen, 0] * 255).round().byte().numpy()
    strip(grey).save(folder / "digits.png", optimize=True)
    return digits.labels[chosen].tolist()


def write_shapes(folder: Path) -> dict[str, object]:
    """Write drawings that no network of the course was trained on, ten of two objects and four of one.

    ``places.png`` tells, in the same order, where they are: 1 in the filled outline of the first object, 2 in that of
    the second, 0 elsewhere.
    """
    pairs, single = two(10, UNSEEN), one(4, UNSEEN)
    strip(np.concatenate([pairs.images, single.images])).save(folder / "shapes.png", optimize=True)
    outlines = [*map(hull, pairs.masks), *map(hull, single.masks[:, None])]
    places = np.stack([sum((k + 1) * mask for k, mask in enumerate(masks)) for masks in outlines])
    strip(places.clip(max=2).astype(np.uint8)).save(folder / "places.png", optimize=True)
    return {
        "pictures": [*pairs.labels.tolist(), *[[label] for label in single.labels.tolist()]],
        "categories": list(CATEGORIES),
        "biases": biases_of(load_classifier("shapes_resnet")),
    }


def write_photographs(folder: Path) -> dict[str, list[dict[str, object]]]:
    """Write the course's photographs as the network sees them, and mosaics of four; PNG files, which lose nothing."""
    found: dict[str, list[dict[str, object]]] = {"photographs": [], "mosaics": []}
    for name, picture in photographs().items():
        file = f"photograph_{name}.png"
        cut_out(Image.fromarray(picture.image)).save(folder / file, optimize=True)
        found["photographs"].append({"file": file, "title": picture.title, "licence": picture.licence})
    for i, mosaic in enumerate(mosaics(MOSAICS, seed=4, names=MOSAIC_OF, side=112)):
        file = f"mosaic_{i}.png"
        Image.fromarray(mosaic.image).save(folder / file, optimize=True)
        found["mosaics"].append({"file": file, "classes": list(mosaic.categories)})
    return found


def write_imagenet(file: Path) -> None:
    """Write names and biases of the real network's classes; a name that two classes share gets its number."""
    classifier = load_classifier("efficientnet_lite0")
    names = classifier.categories
    names = [f"{name} ({i})" if names.count(name) > 1 else name for i, name in enumerate(names)]
    file.write_text(json.dumps({"names": names, "biases": biases_of(classifier)}), encoding="utf-8")


def write_runtime(folder: Path) -> None:
    """Write the two files of onnxruntime-web that run a network on the processor."""
    folder.mkdir()
    with tarfile.open(fetch(RUNTIME)) as archive:
        for name in RUNTIME_FILES:
            (folder / name).write_bytes(archive.extractfile(f"package/dist/{name}").read())


def page(licences: list[str], of_site: bool) -> str:
    """Return the page's HTML; as a part of the site it has links to the other pages, alone it has none."""
    text = (PAGE / "index.html").read_text(encoding="utf-8").replace("LICENCES", html.escape("; ".join(licences)))
    if of_site:
        text = text.replace('<a data-page="index">', '<a href="../index.html">')
        text = re.sub(
            r'<a data-lesson="(\w+)">',
            lambda found: f'<a href="../notebooks/{lesson_path(found[1]).stem}.html">',
            text,
        )
    return text


def write_page(folder: Path, of_site: bool) -> None:
    """Write the playground into a folder that does not exist yet."""
    shutil.copytree(PAGE, folder)
    shutil.copyfile(ROOT / "docs" / "_static" / "favicon.svg", folder / "favicon.svg")
    write_runtime(folder / "ort")
    write_networks(folder / "models")
    pictures = folder / "pictures"
    pictures.mkdir()
    made = {
        "digits": write_digits(pictures),
        "shapes": write_shapes(pictures),
        "photographs": write_photographs(pictures),
    }
    write_imagenet(folder / "models" / "imagenet.json")
    licences = [f"{one['title']} ({one['licence']})" for one in made["photographs"]["photographs"]]
    (folder / "index.html").write_text(page(licences, of_site), encoding="utf-8")
    made["bytes"] = {
        "onnxruntime": size(*(folder / "ort").iterdir()),
        "digits": size(folder / "models" / "digits.onnx", pictures / "digits.png"),
        "shapes": size(folder / "models" / "shapes.onnx", pictures / "shapes.png", pictures / "places.png"),
        "photograph": size(folder / "models" / "photograph.onnx", folder / "models" / "imagenet.json"),
        "pictures": size(*pictures.glob("photograph_*"), *pictures.glob("mosaic_*")),
    }
    (folder / "made.json").write_text(json.dumps(made), encoding="utf-8")


def build(folder: Path, of_site: bool = False) -> None:
    """Write the playground into a folder, which is replaced once all is there; after a failure it is as it was.

    Args:
        folder: where to.
        of_site: whether the other pages of the site lie around it.

    Raises:
        SystemExit: onnxruntime-web is not here, and npm cannot fetch it.
    """
    fetch(RUNTIME)  # before anything else, as this is what may fail
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as beside:
        made = Path(beside) / "page"
        write_page(made, of_site)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)


def size(*files: Path) -> int:
    """Return how many bytes files have together."""
    return sum(file.stat().st_size for file in files)
