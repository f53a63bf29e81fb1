"""The report: one HTML page that holds everything, for light and dark, for a screen and for a phone."""

import base64
import html
import io
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from helpers import attribution, evaluation
from helpers.attribution._common import check_pictures, explaining
from helpers.hooks import find_layer
from helpers.models import Classifier
from helpers.plotting.images import lay_over, look_of
from helpers.report.five_checks import FAILED, Findings, Row, five_checks
from helpers.report.inputs import inspect_input
from helpers.report.layers import Layer, propose_layers
from helpers.report.loading import heard, in_words, logits_of

NO_LAYER = "No layer of this network can be looked at, so gradient x input takes the place of Grad-CAM."
ENOUGH = 4  # pictures, for a mosaic
FINE = {"integrated gradients", "gradient x input"}  # maps of single pixels, which are hardly seen on a small screen
SUMMED = 4  # times as many pixels of such a map are summed for the eye
BRIGHT = 0.98  # of a map's values lie within its colours
FRAME = 8  # the frame is this part of the picture's sides wide
CHECKS = {
    "completeness": "Do the values add up to what they must?",
    "class sensitivity": "Is the map another one for another class?",
    "randomisation": "Is the map another one with random weights?",
    "deletion": "Does the score fall sooner than with a random order, and than with edges?",
    "mosaics": "In a mosaic of four pictures, does the map find the one that is asked for?",
}
LIMITS = (
    "The classes of the mosaics are the network's own answers, not the truth: a wrong answer that is well explained "
    "passes all five checks.",
    "A map shows places, not reasons: whether colour, texture or outline counts there has to be tested by changing it.",
    "Deleted pixels get the picture's mean colour, which is a picture that the network has never seen.",
    "The mosaics are made of the same few pictures, so their intervals are narrower than new pictures would give.",
    "Passing the randomisation test does not make a method good, and methods must not be ranked by it.",
)
STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --paper: #ffffff; --soft: #595959; --line: #d0d0d0; --box: #f4f4f2;
  --yes: #1b6e35; --no: #a3281c; --open: #6b5200; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececec; --paper: #161616; --soft: #b0b0b0; --line: #444444;
  --box: #222222; --yes: #7fd495; --no: #ff9d91; --open: #e7c766; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 62rem; font: 1rem/1.55 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .5rem 0; } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 0 0 .3rem; } p, ul, dl { margin: .4rem 0; } small, figcaption { color: var(--soft); }
.verdict { border-left: .4rem solid var(--line); background: var(--box); padding: .6rem .9rem; margin: .6rem 0; }
.verdict.yes { border-color: var(--yes); } .verdict.no { border-color: var(--no); }
.verdict.open { border-color: var(--open); }
b.yes { color: var(--yes); } b.no { color: var(--no); } b.open { color: var(--open); }
b.yes, b.no, b.open { display: block; }
.checks { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); }
.checks section { border: 1px solid var(--line); padding: .7rem .9rem; border-radius: .3rem; }
.maps { display: grid; gap: .6rem; margin: .6rem 0 1.4rem;
  grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); }
figure { margin: 0; } img { width: 100%; display: block; image-rendering: auto; }
table { border-collapse: collapse; } td, th { padding: .2rem .9rem .2rem 0; text-align: left; vertical-align: top; }
"""


def write_report(
    classifier: Classifier,
    pictures: Sequence[object],
    file: str | Path = "report.html",
    *,
    layer: str | None = None,
    titles: Sequence[str] | None = None,
    left_out: Sequence[str] = (),
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Explain pictures by three methods, check the maps, and write what was found as one HTML page.

    The page holds its pictures and its style, and asks for nothing else. It is written under another name and then
    renamed, so that there is never half of a page.

    Args:
        classifier: from :func:`load_any`, :func:`helpers.models.load_classifier`, or made by hand.
        pictures: whatever :func:`helpers.data.read_picture` reads: paths, arrays, PIL images.
        file: where the page is written; its folder must exist.
        layer: for Grad-CAM; the classifier's own, or the first of :func:`propose_layers`, unless given.
        titles: of the pictures; the names of their files, or their numbers, unless given.
        left_out: sentences on files that could not be taken, which the page repeats.
        say: is given a line before each step.

    Returns:
        The path of the page.

    Raises:
        TypeError, ValueError: no picture, or a classifier, a picture or a layer that cannot be used.
        OSError: the page cannot be written.

    >>> import tempfile
    >>> from helpers.data.shapes import one
    >>> from helpers.models import load_classifier
    >>> from helpers.report import write_report
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = write_report(load_classifier("shapes_resnet"), list(one(2, 5).images), f"{folder}/report.html")
    ...     page.read_text(encoding="utf-8").count("<img")
    8
    """
    path = check_file(file)
    if not len(pictures):
        raise ValueError("There is no picture to report on: give at least one.")
    if titles is not None and len(titles) != len(pictures):
        raise ValueError(f"There are {len(titles)} titles for {len(pictures)} pictures: give one for each, or none.")
    model, x = classifier.model, _input(classifier, pictures)
    with heard(model) as warned:
        logits = logits_of(model, x, classifier.name)
        if logits.shape[1] != len(classifier.categories):
            raise ValueError(
                f"{classifier.name} has {logits.shape[1]} logits and {len(classifier.categories)} categories: give the "
                "classifier one name for each logit."
            )
        remarks = [*classifier.remarks, *left_out, *inspect_input(x, model, **_recipe(classifier))]
        for line in remarks:
            say(line)
        layer, proposed = _layer(classifier, x, layer, say)
        found = five_checks(model, x, layer=layer, say=say)
    for line in (*warned, *_too_alike(found.target)):
        if line not in remarks:
            say(line)
            remarks.append(line)
    names = list(
        titles or (Path(p).name if isinstance(p, str | Path) else f"picture {i + 1}" for i, p in enumerate(pictures))
    )
    _write(path, _page(classifier, x, found, layer, proposed, names, remarks))
    return path


def check_file(file: str | Path) -> Path:
    """Return the path of a page that can be written.

    Raises:
        ValueError: it is a folder, or its folder does not exist or takes no files.

    >>> from helpers.report.page import check_file
    >>> check_file(".")
    Traceback (most recent call last):
    ...
    ValueError: . is a folder: give the name of a file in it, such as report.html.
    """
    path = Path(file).expanduser()
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give the name of a file in it, such as {path / 'report.html'}.")
    if not path.parent.is_dir():
        raise ValueError(f"There is no folder {path.parent}: make it, or write the report elsewhere.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ValueError(f"The folder {path.parent} takes no files from you: write the report elsewhere.")
    return path


def _input(classifier: Classifier, pictures: Sequence[object]) -> Tensor:
    """Return the network's input, after a look at what a user's own preprocess has made of the pictures."""
    x = classifier.preprocess(list(pictures))
    if not isinstance(x, Tensor):
        raise TypeError(f"The preprocess returns a {type(x).__name__}: let it return a float tensor [N, C, H, W].")
    x = check_pictures(x)
    if len(x) != len(pictures):
        raise ValueError(
            f"The preprocess makes an input of {len(x)} out of {len(pictures)} pictures: let it take a list, and "
            "return [N, C, H, W] with one entry for each."
        )
    return x


def _recipe(classifier: Classifier) -> dict:
    """Return what is known of how the input was made, as :func:`inspect_input` takes it."""
    mean, std, side = classifier.mean, classifier.std, classifier.side
    return {"side": side} if mean is None or std is None else {"side": side, "mean": mean, "std": std}


def _layer(
    classifier: Classifier, x: Tensor, layer: str | None, say: Callable[[str], None]
) -> tuple[str | None, list[Layer]]:
    """Return the layer for Grad-CAM, and those that were proposed; one that was asked for has to give maps."""
    model = classifier.model
    if layer:
        find_layer(model, layer)
        evaluation.mean_of_maps(model, x[:1], layer=layer)
        return layer, []
    proposed = []
    try:
        proposed = propose_layers(model, x)
    except ValueError:
        say(NO_LAYER)
    own = classifier.layer if classifier.layer in dict(model.named_modules()) else ""
    return own or (proposed[0].name if proposed else None), proposed


def _too_alike(target: Tensor) -> list[str]:
    """Return what cannot be decided because there are too few pictures, or too few answers."""
    if len(target) == 1:
        return [
            "This is one picture, and neither deletion nor mosaics can be decided by it. Give two or more pictures, "
            f"with different answers; {ENOUGH} or more are better."
        ]
    if len(target.unique()) == 1:
        return [
            f"All {len(target)} pictures have the same answer, so mosaics cannot be made, and whether a map finds the "
            "class that is asked for is not decided. Give pictures with different answers."
        ]
    return []


def _write(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            opened.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _page(
    classifier: Classifier,
    x: Tensor,
    found: Findings,
    layer: str | None,
    proposed: list[Layer],
    titles: list[str],
    remarks: list[str],
) -> str:
    """Return the page."""
    say = html.escape
    name = say(classifier.name)
    methods = list(found.maps)
    parts = [
        f"<h1>Report on {name}: which maps can be trusted?</h1>",
        f"<p><small>{say(_about(classifier, x))} Written by <code>helpers.report</code> of the course <i>Seeing "
        "inside CNNs</i>.</small></p>",
        "<h2>What may be concluded</h2>",
        *(_verdict(found, method) for method in methods),
    ]
    if remarks:
        parts += [
            "<h2>Remarks on the network and its input</h2>",
            "<ul>",
            *(f"<li>{say(line)}</li>" for line in remarks),
            "</ul>",
        ]
    parts += ["<h2>The five checks</h2>", '<div class="checks">']
    for check, question in CHECKS.items():
        parts.append(f"<section><h3>{check.capitalize()}</h3><p><small>{question}</small></p>")
        parts += [_row(row) for row in found.rows if row.check == check]
        parts.append("</section>")
    parts += ["</div>", *_places(classifier.model, x, found, layer), *_pictures(classifier, x, found, titles)]
    parts += ["<h2>The layer</h2>", f"<p>{_layer_words(layer, proposed)}</p>"]
    parts += ["<h2>What this does not show</h2>", "<ul>", *(f"<li>{line}</li>" for line in LIMITS), "</ul>"]
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'  # without it a browser asks the server for one
        f"<title>Report on {name}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        "</body>\n</html>\n"
    )


def _about(classifier: Classifier, x: Tensor) -> str:
    """Return what was explained, in words: the pictures, the classes, the training data, the preprocess."""
    number = "1 picture" if len(x) == 1 else f"{len(x)} pictures"
    classes = "one logit" if len(classifier.categories) == 1 else f"{len(classifier.categories)} classes"
    text = f"{number} of {x.shape[2]} x {x.shape[3]} pixels; {classes}; {_trained_on(classifier.trained_on)}."
    if classifier.mean is None or classifier.std is None:
        return text + " Mean and std of its preprocess are not known, so the range of the values was hardly checked."
    text += f" Pixels from 0 to 1 are normalised with mean {in_words(classifier.mean)}"
    return text + f" and std {in_words(classifier.std)}."


def _trained_on(text: str) -> str:
    """Return what a network was trained on; the course's files of weights hold it as a recipe."""
    if found := re.fullmatch(r"(\d+) one, (\d+) off_centre, (\d+) two, seed \d+", text):
        one, off, two = (f"{int(count):,}" for count in found.groups())
        return (
            f"trained on drawings: {one} of one shape, {off} of one shape away from the centre, and {two} of two shapes"
        )
    if found := re.match(r"\d+ planted for each of .*, from (\w+)$", text):
        return f"trained on drawings with a watermark that tells the class, beginning with the weights of {found[1]}"
    return f"trained on {text}"


def _verdict(found: Findings, method: str) -> str:
    """Return what may be concluded about a method, with an edge in the colour of its checks."""
    own = [row for row in found.rows if row.method == method]
    held = [row.holds for row in own if row.check in FAILED]
    kind, word = ("no", "A check failed") if False in held else ("open", "Not all is decided")
    if all(held):
        sums = all(row.holds is not False for row in own)
        kind, word = ("yes", "The checks passed") if sums else ("open", "The checks passed but for completeness")
    return f'<p class="verdict {kind}"><b class="{kind}">{word}.</b>{html.escape(found.verdicts[method])}</p>'


def _does_not_apply(row: Row) -> bool:
    return row.check == "completeness" and row.value is None


def _row(row: Row) -> str:
    """Return what a check says of a method."""
    kind, word = {True: ("yes", "passed"), False: ("no", "failed"), None: ("open", "not decided")}[row.holds]
    word = "does not apply" if _does_not_apply(row) else word
    return f'<p><b class="{kind}">{html.escape(row.method)}: {word}</b>{html.escape(row.sentence)}</p>'


def _layer_words(layer: str | None, proposed: list[Layer]) -> str:
    """Return which layer was used, and which others there are."""
    if not layer:
        return NO_LAYER
    text = f"Grad-CAM reads <code>{html.escape(layer)}</code>. "
    others = [f"<code>{html.escape(one.name)}</code>: {html.escape(one.reason)}" for one in proposed]
    return text + ("Candidates: <br>" + "<br>".join(others) if others else "")


def frame_share(maps: Tensor) -> tuple[float, float]:
    """Return the share of the positive evidence of maps [N, H, W] that lies in the frame, and the frame's own share.

    The frame is an eighth of the picture's sides wide. Much evidence there is a reason to look for a shortcut: a
    stamp, a border, a date.
    """
    inside = torch.ones(maps.shape[1:], dtype=torch.bool)
    h, w = max(1, maps.shape[1] // FRAME), max(1, maps.shape[2] // FRAME)
    inside[h:-h, w:-w] = False
    shares = evaluation.mass_accuracy(maps, inside.expand(len(maps), -1, -1))
    return shares.nanmean().item(), inside.float().mean().item()


def _places(model: nn.Module, x: Tensor, found: Findings, layer: str | None) -> list[str]:
    """Return where the evidence lies on average: near the frame?"""
    maps = dict(found.maps)
    if layer:
        blind = evaluation.mean_of_maps(model, x, layer=layer)
        maps["class-blind mean of the feature maps"] = attribution.upsample(blind, tuple(x.shape[2:]))
    lines, area = ["<h2>Evidence in the frame of the picture</h2>", "<table>"], 0.0
    for name, values in maps.items():
        share, area = frame_share(values)
        words = "no positive evidence" if share != share else f"{share:.0%} of the positive evidence"
        lines.append(f"<tr><th>{html.escape(name)}</th><td>{words}</td></tr>")
    lines.append(f"<tr><th>the frame itself</th><td>{area:.0%} of the picture</td></tr></table>")
    controls = "both the frame's own area and the class-blind mean, which uses no class score," if layer else "its area"
    return [
        *lines,
        f"<p><small>The frame is an eighth of the sides wide. A share clearly above {controls} is a reason to look for "
        "a stamp or a border. Any lower share does not speak for or against one.</small></p>",
    ]


def _pictures(classifier: Classifier, x: Tensor, found: Findings, titles: list[str]) -> list[str]:
    """Return each picture and its maps."""
    with explaining(classifier.model):
        shares = classifier.top(x, 1)
    seen = classifier.unprocess(x) if _has_bounds(classifier) else _stretched(x)
    seen = (seen if seen.shape[1] in (1, 3) else seen.mean(1, keepdim=True)).expand(-1, 3, -1, -1)
    one = ", the sigmoid of its one logit" if len(classifier.categories) == 1 else ""
    lines = [
        "<h2>The pictures</h2>",
        "<p><small>Red speaks for the class, blue against it. Each map has its own scale, into which all but 2 % of "
        "its values fit; the lowest and the highest value stand below it.</small></p>",
    ]
    for i, title in enumerate(titles):
        picture = seen[i].permute(1, 2, 0).double().numpy()
        category, share = shares[i][0]
        asked = classifier.categories[int(found.target[i])]
        category, asked = (f"class {name}" if name.isdigit() else name for name in (category, asked))
        lines.append(f"<h3>{html.escape(title)}: {html.escape(category)}, {share:.0%}{one}</h3>")
        lines.append(f'<div class="maps">{_figure(picture, "the picture", f"{title}, as the network is given it")}')
        for method, maps in found.maps.items():
            values, summed = _for_the_eye(maps[i].double(), method)
            low, high = (f"{value:.2g}".replace("-", "\u2212") for value in (values.min(), values.max()))
            caption = f"{method} for {asked}{summed}: {low} to {high}"
            words = f"The map of {method} for {asked}, over {title}, with values from {low} to {high}"
            lines.append(_figure(_over(picture, values.numpy()), caption, words))
        lines.append("</div>")
    return lines


def _for_the_eye(values: Tensor, method: str) -> tuple[Tensor, str]:
    """Return a map [H, W] as it is drawn, and what was done to it: single pixels are summed in squares."""
    if method not in FINE or min(values.shape) < 16 * SUMMED:
        return values, ""
    sums = F.avg_pool2d(values[None, None], SUMMED, ceil_mode=True, divisor_override=1)[0, 0]
    large = sums.repeat_interleave(SUMMED, 0).repeat_interleave(SUMMED, 1)[: values.shape[0], : values.shape[1]]
    return large, f", summed over {SUMMED} x {SUMMED} pixels"


def _has_bounds(classifier: Classifier) -> bool:
    """Return whether black and white have values in the model's units; a user's own preprocess may refuse them."""
    try:
        black, white = classifier.bounds
    except Exception:  # the user's code may raise any error
        return False
    return bool((white > black).all())


def _stretched(x: Tensor) -> Tensor:
    low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    return (x - low) / (high - low).clamp(min=1e-9)


def _over(picture: np.ndarray, values: np.ndarray) -> np.ndarray:
    most = np.quantile(np.abs(values), BRIGHT) or np.abs(values).max()
    values = values.clip(-most, most)  # single pixels would leave all others without colour
    look = look_of(values, True, signed=True)
    width = (look.high - look.low) or 1.0
    return lay_over(picture, np.clip((values - look.low) / width, 0, 1), look.cmap)


def _figure(image: np.ndarray, caption: str, words: str) -> str:
    """Return a picture [H, W, 3] from 0 to 1 as HTML that holds it."""
    pixels = Image.fromarray((255 * image.clip(0, 1)).round().astype(np.uint8))
    if max(pixels.size) > 360:
        pixels.thumbnail((360, 360))
    elif max(pixels.size) < 180:
        times = -(-180 // max(pixels.size))
        pixels = pixels.resize((times * pixels.width, times * pixels.height), Image.Resampling.NEAREST)
    kept = io.BytesIO()
    pixels.convert("RGB").save(kept, "jpeg", quality=85)
    data = base64.b64encode(kept.getvalue()).decode()
    return (
        f'<figure><img src="data:image/jpeg;base64,{data}" alt="{html.escape(words, quote=True)}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )
