"""Five checks of an explanation, with numbers, and what may be concluded from them.

Each check is made of functions of :mod:`helpers.evaluation`, and compares with a control: completeness with the score
itself, class sensitivity with the map of another class, randomisation with maps of other pictures, deletion with a
random order and with edges, mosaics with chance and with the class-blind mean of the feature maps.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers import attribution, evaluation
from helpers.attribution._common import check_pictures, explaining, run
from helpers.attribution.progress import watching

STEPS = 12  # points on the line of integrated gradients
CELLS = 7  # covers of occlusion in each direction
PARTS = 10  # in which pixels are removed
MOSAICS = 8
CLEAR = 0.2  # of the way from chance to all: how much of the evidence must lie in the right quarters
MANY = 100  # pictures; fewer are an example
Maps = Callable[[nn.Module, Tensor, Tensor], Tensor]  # (model, x [N, C, H, W], classes [K, N]) -> [K, N, H, W]


class Row(NamedTuple):
    """What one check found about one method.

    Attributes:
        check: one of "completeness", "class sensitivity", "randomisation", "deletion" and "mosaics".
        method: the name of the method.
        value: the number that was measured; None where the check does not apply.
        control: the number to compare it with; None where there is none.
        holds: whether the method passes; None where this is not decided.
        sentence: value and control in words.

    >>> from helpers.report import Row
    >>> Row("mosaics", "Grad-CAM", 0.8, 0.25, True, "80 % of the evidence ...").holds
    True
    """

    check: str
    method: str
    value: float | None
    control: float | None
    holds: bool | None
    sentence: str


class Findings(NamedTuple):
    """What :func:`five_checks` returns.

    Attributes:
        target: the class that was asked for, int64 [N].
        maps: for each method its maps of the pictures, [N, H, W].
        rows: five for each method, :class:`Row`.
        verdicts: for each method what may be concluded, in plain words.

    >>> from helpers.report import Findings
    >>> Findings._fields
    ('target', 'maps', 'rows', 'verdicts')
    """

    target: Tensor
    maps: dict[str, Tensor]
    rows: list[Row]
    verdicts: dict[str, str]


def five_checks(
    model: nn.Module,
    x: Tensor,
    target: int | Tensor | None = None,
    *,
    layer: str | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> Findings:
    """Explain pictures by three methods of three families, and check each map in five ways.

    The methods are Grad-CAM with its sign (activations), integrated gradients (gradients) and occlusion
    (perturbation). Without a layer, gradient x input takes the place of Grad-CAM.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; left as it was.
        x: pictures [N, C, H, W], in the units that the network takes.
        target: class to explain, one for all pictures or one for each; each picture's top class unless given.
        layer: for Grad-CAM, such as the first of :func:`propose_layers`.
        seed: of random weights, of the random order and of the mosaics.
        say: is given a line before each step.

    Returns:
        :class:`Findings`.

    Raises:
        TypeError, ValueError: a model, pictures, a target or a layer that cannot be used.

    >>> import torch
    >>> from helpers.report import five_checks
    >>> _ = torch.manual_seed(0)
    >>> pool = torch.nn.AdaptiveAvgPool2d(1)
    >>> head = pool, torch.nn.Flatten(), torch.nn.Linear(8, 3)
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), *head)
    >>> found = five_checks(net, torch.rand(2, 3, 16, 16), layer="1")
    >>> list(found.maps), len(found.rows), found.rows[0].check, found.rows[0].holds
    (['Grad-CAM', 'integrated gradients', 'occlusion'], 15, 'completeness', True)
    """
    x = check_pictures(x)
    with explaining(model), torch.no_grad():
        logits = run(model, x)
    top = logits.argmax(1) if target is None else _one_class_each(target, *logits.shape)
    other, second = _another_class(logits, top), _best_other_class(logits, top)
    methods, maps, rows = methods_for(layer), {}, []
    with watching(lambda done, total, what: None):  # no progress bars
        for name, method in methods.items():
            say(f"{name}: maps, those of another class, and with random weights")
            maps[name], *others = method(model, x, torch.stack([top, other, second]))
            rows.append(_completeness(name, model, x, top, layer, maps[name]))
            rows.append(_class_sensitivity(name, maps[name], *others, classes=logits.shape[1]))
            with drawn_anew(model, seed):
                blank = method(model, x, top[None])[0]
            rows.append(_randomisation(name, maps[name], blank))
        say("deletion, beside a random order and edges")
        rows += _deletion(model, x, top, maps, seed)
        say("mosaics of four pictures")
        rows += _mosaics(model, x, top, methods, layer, seed)
    rows.sort(key=lambda row: list(methods).index(row.method))
    return Findings(top, maps, rows, {name: _verdict(name, rows, len(x)) for name in methods})


def _one_class_each(target: Tensor | int, pictures: int, classes: int) -> Tensor:
    """Return the class to explain of each picture."""
    asked = torch.as_tensor(target).flatten()
    if (
        asked.is_floating_point()
        or len(asked) not in (1, pictures)
        or not bool(((asked >= 0) & (asked < classes)).all())
    ):
        raise ValueError(
            f"target is {target}: give a class from 0 to {classes - 1}, one for all {pictures} pictures or one for each"
            " of them."
        )
    return asked.long().expand(pictures).clone()


def methods_for(layer: str | None) -> dict[str, Maps]:
    """Return three methods of three families, each ``(model, x, classes [K, N]) -> [K, N, H, W]``, signed.

    Several classes are asked for at once because occlusion has the maps of all classes from the same forward passes.
    """

    def grad_cam(model: nn.Module, x: Tensor, classes: Tensor) -> Tensor:
        coarse = [attribution.grad_cam(model, x, target, layer=layer, relu=False) for target in classes]
        return torch.stack([attribution.upsample(one, tuple(x.shape[2:])) for one in coarse])

    def gradient_x_input(model: nn.Module, x: Tensor, classes: Tensor) -> Tensor:
        return torch.stack([attribution.gradient_x_input(model, x, target).sum(1) for target in classes])

    def integrated(model: nn.Module, x: Tensor, classes: Tensor) -> Tensor:
        settings = {"steps": STEPS, "rule": "midpoint"}
        return torch.stack([attribution.integrated_gradients(model, x, one, **settings).sum(1) for one in classes])

    def occlusion(model: nn.Module, x: Tensor, classes: Tensor) -> Tensor:
        high, wide = (max(1, side // CELLS) for side in x.shape[2:])
        with explaining(model), torch.no_grad():
            whole = run(model, x)[:, None, None]  # [N, 1, 1, classes]
        covered = attribution.occluded_logits(model, x, patch=(high, wide), baseline=mean_colour(x))
        cells = (whole - covered)[torch.arange(len(x)), :, :, classes]  # [K, N, rows, columns]
        large = cells.repeat_interleave(high, 2).repeat_interleave(wide, 3)
        return large[..., : x.shape[2], : x.shape[3]]

    first = {"Grad-CAM": grad_cam} if layer else {"gradient x input": gradient_x_input}
    return first | {"integrated gradients": integrated, "occlusion": occlusion}


def mean_colour(x: Tensor) -> Tensor:
    """Return each picture with its mean colour everywhere, [N, C, H, W]."""
    return x.mean((2, 3), keepdim=True).expand_as(x)


@contextmanager
def drawn_anew(model: nn.Module, seed: int = 0) -> Iterator[None]:
    """Inside the block every weight of the model has a new random value; afterwards it is as it was, also by an error.

    A copy would be simpler, but some networks, such as those of torch.export, cannot be copied.
    """
    kept = [(value, value.detach().clone()) for value in (*model.parameters(), *model.buffers())]
    try:
        draw_anew(model, seed)
        yield
    finally:
        with torch.no_grad():
            for value, before in kept:
                value.copy_(before)


def draw_anew(model: nn.Module, seed: int = 0) -> None:
    """Give every weight of a model a new random value, as before training; it changes the model.

    A module with ``reset_parameters()`` draws its own; any other parameter is drawn with its old mean and spread.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for module in model.modules():
            own = list(module.parameters(recurse=False))
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
            for parameter in [] if hasattr(module, "reset_parameters") else own:
                spread = parameter.std() if parameter.numel() > 1 else 0.0
                parameter.copy_(parameter.mean() + spread * torch.randn(parameter.shape).to(parameter))


def _another_class(logits: Tensor, target: Tensor) -> Tensor:
    """Return for each picture a class from the middle of its ranks, and never the target if there is another, [N]."""
    order = logits.argsort(1, descending=True)
    middle, next_one = order[:, logits.shape[1] // 2], order[:, max(0, logits.shape[1] // 2 - 1)]
    return torch.where(middle == target, next_one, middle)


def _best_other_class(logits: Tensor, target: Tensor) -> Tensor:
    """Return for each picture the highest class but the target, [N]; the target itself if there is no other."""
    return logits.scatter(1, target[:, None], -torch.inf).argmax(1)


# --- the five checks ---


def _completeness(method: str, model: nn.Module, x: Tensor, target: Tensor, layer: str | None, maps: Tensor) -> Row:
    if method == "integrated gradients":
        with explaining(model), torch.no_grad():
            rise = (run(model, x) - run(model, torch.zeros_like(x))).gather(1, target[:, None])[:, 0]
        gap = ((maps.sum((1, 2)) - rise).abs() / rise.abs().clamp(min=1)).median().item()
        words = (
            f"The values must add up to the rise of the score over that of an input of zeros; they miss it by {gap:.1%}"
        )
        if gap < 0.05:
            return Row("completeness", method, gap, 0.0, True, words + ".")
        return Row("completeness", method, gap, 0.0, None, f"{words}, because {STEPS} steps are few for this network.")
    if method == "Grad-CAM":
        try:
            cams = attribution.cam(model, x, target, layer=layer)
        except ValueError:
            words = "The network has no exact CAM at this layer, so there is no sum to check."
            return Row("completeness", method, None, None, None, words)
        raw = attribution.grad_cam(model, x, target, layer=layer, relu=False)
        gap = ((raw * raw[0].numel() - cams).abs().amax() / cams.abs().amax()).item()
        words = (
            "Multiplied by its number of places, the map must equal the exact CAM, whose mean plus the bias is the "
            f"score. The largest difference is {gap:.1e} of the largest value."
        )
        return Row("completeness", method, gap, 0.0, gap < 1e-3, words)
    return Row("completeness", method, None, None, None, "There is no sum that its values must reach.")


def _class_sensitivity(method: str, maps: Tensor, others: Tensor, of_second: Tensor, classes: int) -> Row:
    if classes < 2:
        return Row("class sensitivity", method, None, 1.0, None, "There is one logit, so no other class.")
    found = evaluation.rank_correlation(maps, others)
    if found.isnan().all():
        return Row("class sensitivity", method, None, 1.0, None, "Its maps are constant.")
    value = found.nanmean().item()
    words = (
        f"The maps of the class and of one from the middle of the ranks correlate at {value:.3f} over pixels (a map "
        "that is blind to the class: 1; needed: below 0.9)."
    )
    if classes > 2:
        second = evaluation.rank_correlation(maps, of_second).nanmean().item()
        words += f" The map of the second class, often a similar thing, correlates at {second:.3f}."
    return Row("class sensitivity", method, value, 1.0, value < 0.9, words)


def _randomisation(method: str, maps: Tensor, blank: Tensor) -> Row:
    found = evaluation.rank_correlation(maps, blank).abs()
    if found.isnan().all():
        return Row("randomisation", method, None, None, None, "With random weights the maps are constant.")
    value = found.nanmean().item()
    control = evaluation.rank_correlation(maps, maps.roll(1, 0)).abs().nanmean().item() if len(maps) > 1 else None
    words = f"The map and the map with random weights correlate at {value:.3f} in absolute value"
    words += f" (maps of two pictures: {control:.3f}; " if control is not None else " ("
    holds = True if value < 0.5 else None if control is not None and value <= control else False
    return Row("randomisation", method, value, control, holds, words + "needed: below 0.5).")


def _deletion(model: nn.Module, x: Tensor, target: Tensor, maps: dict[str, Tensor], seed: int) -> list[Row]:
    random = torch.Generator().manual_seed(seed)
    controls = {"a random order": evaluation.random_maps(x, random), "the order of edges": evaluation.sobel(x)}
    steps = min(PARTS, x.shape[2] * x.shape[3])
    areas = {}
    for name, order in (maps | controls).items():
        curve = evaluation.deletion(model, x, order, target, steps=steps, baseline=mean_colour(x))
        areas[name] = evaluation.area(*curve)
    rows = []
    for name in maps:
        gains = {control: areas[control] - areas[name] for control in controls}
        means = {control: gain.mean().item() for control, gain in gains.items()}
        worst = min(means.values())
        words = "While pixels are removed in the order of the map, the score is on average lower than in"
        if len(x) < 2:
            said = " and ".join(f"{control} by {mean:.3g}" for control, mean in means.items())
            rows.append(Row("deletion", name, worst, 0.0, None, f"{words} {said}; one picture decides nothing."))
            continue
        halves = {control: evaluation.interval(gain)[1].item() for control, gain in gains.items()}
        said = " and ".join(f"{control} by {mean:.3g} ± {halves[control]:.2g}" for control, mean in means.items())
        better = all(means[control] > halves[control] for control in gains)
        worse = any(means[control] < -halves[control] for control in gains)
        holds = True if better else False if worse else None
        rows.append(Row("deletion", name, worst, 0.0, holds, f"{words} {said} (paired; needed: both clearly above 0)."))
    return rows


def mosaics_of(x: Tensor, target: Tensor, count: int = MOSAICS, seed: int = 0) -> Iterator[tuple[Tensor, dict]]:
    """Yield mosaics of four pictures at half size, [1, C, H, W], and the mask [H, W] of each class's quarters.

    Pictures of different classes are drawn as far as there are any; nothing comes if all have one class.
    """
    half_h, half_w = x.shape[2] // 2, x.shape[3] // 2
    random = torch.Generator().manual_seed(seed)
    if len(target.unique()) < 2 or min(half_h, half_w) < 1:
        return
    for _ in range(count):
        order = torch.randperm(len(x), generator=random).tolist()
        first = [i for n, i in enumerate(order) if target[i] not in target[order[:n]]][:4]
        rest = [i for i in order if i not in first]
        four = (first + rest + first * 4)[:4]
        four = [four[i] for i in torch.randperm(4, generator=random).tolist()]
        tiles = F.interpolate(x[four], (half_h, half_w), mode="bilinear", antialias=True, align_corners=False)
        mosaic = torch.cat([torch.cat(list(tiles[:2]), 2), torch.cat(list(tiles[2:]), 2)], 1)[None]
        mosaic = F.pad(mosaic, (0, x.shape[3] - 2 * half_w, 0, x.shape[2] - 2 * half_h), mode="replicate")
        masks: dict[int, Tensor] = {}
        for place, i in enumerate(four):
            mask = masks.setdefault(int(target[i]), torch.zeros(x.shape[2:], dtype=torch.bool))
            top, left = place // 2 * half_h, place % 2 * half_w
            mask[top : top + half_h, left : left + half_w] = True
        yield mosaic, masks


def _mosaics(
    model: nn.Module, x: Tensor, target: Tensor, methods: dict[str, Maps], layer: str | None, seed: int
) -> list[Row]:
    shares: dict[str, list[Tensor]] = {name: [] for name in (*methods, "blind", "chance")}
    for mosaic, masks in mosaics_of(x, target, seed=seed):
        asked, cells = torch.tensor(list(masks)), torch.stack(list(masks.values()))
        for name, method in methods.items():
            found_maps = method(model, mosaic, asked[:, None])[:, 0]
            shares[name].append(evaluation.grid_pointing(found_maps, cells).share.nanmean())
        shares["chance"].append(cells.flatten(1).float().mean())
        if layer:
            blind = evaluation.mean_of_maps(model, mosaic, layer=layer).expand(len(asked), -1, -1)
            shares["blind"].append(evaluation.grid_pointing(blind, cells).share.nanmean())
    found = []
    for name in methods:
        if not shares[name]:
            words = "There are no two pictures with different answers, so no mosaic has a question."
            found.append(Row("mosaics", name, None, None, None, words))
            continue
        values = torch.stack(shares[name])
        value, chance = values.nanmean().item(), torch.stack(shares["chance"]).mean().item()
        needed = chance + CLEAR * (1 - chance)
        words = f"{value:.0%} of the positive evidence lies in the quarters that show the class (chance: {chance:.0%}"
        if shares["blind"]:
            words += f", class-blind mean of the maps: {torch.stack(shares['blind']).nanmean().item():.0%}"
        gain = values - torch.stack(shares["chance"])
        gain = gain[~gain.isnan()]
        holds = None
        if len(gain) > 1:
            mean, half = (part.item() for part in evaluation.interval(gain))
            clear = mean > half and value >= needed
            holds = True if clear else False if mean < -half else None
            words += f"; {len(gain)} mosaics, ± {half:.0%}; needed: {needed:.0%}"
        found.append(Row("mosaics", name, value, chance, holds, words + ")."))
    return found


# --- what may be concluded ---

FAILED = {
    "class sensitivity": "it looks nearly alike for another class, so it does not tell why this class and not another",
    "randomisation": "it looks alike with random weights, so it says little about what the network has learnt",
    "deletion": "the score falls later than with a control, so other places than those that it marks matter more",
    "mosaics": "on mosaics it points away from the picture that it is asked for, so places must not be read from it",
}


def _verdict(method: str, rows: list[Row], count: int) -> str:
    """Return what may be concluded about a method, in plain words."""
    own = {row.check: row for row in rows if row.method == method}
    failed = [check for check in FAILED if own[check].holds is False]
    open_ones = [check for check in FAILED if own[check].holds is None]
    few_steps = own["completeness"].holds is None and own["completeness"].value is not None
    name = method[0].upper() + method[1:]
    if failed:
        text = f"Do not rely on {method} here: {'; '.join(FAILED[check] for check in failed)}."
    elif open_ones:
        text = f"No check speaks against {method}, but not all could be decided: take its maps as a hint."
    else:
        text = (
            f"{name} may be read as a map of where the evidence for the class lies in these pictures. It does not "
            "say which feature counts there, or whether the answer is right."
        )
    if open_ones:
        text += f" Not decided: {', '.join(open_ones)}."
    if few_steps:
        text += f" With {STEPS} steps its values do not add up, so read their order and not their size."
    if own["completeness"].holds is False and not failed:
        text += " Its values do not add up to the score, so read their order and not their size."
    if count < MANY:
        few = "One picture is" if count == 1 else f"{count} pictures are"
        text += f" {few} an example: the same checks on {MANY} may say something else."
    return text
