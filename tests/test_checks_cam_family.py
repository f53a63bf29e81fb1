"""The checkers of lesson *cam_family* accept the folded solutions, name each known mistake and wait."""

import torch
import torch.nn.functional as F

from answers import answer_tests
from helpers.checks import cam_family


def logits_without(head, maps):
    """Return the logits [K, N, classes] with each map removed in turn."""
    return torch.stack([head(maps.clone().index_fill_(1, torch.tensor(k), 0)) for k in range(maps.shape[1])])


def chosen(logits, target):
    """Return the logits [..., N] of each picture's own class."""
    return logits[..., torch.arange(len(target)), target]


def before_and_after(head, maps, target):
    return chosen(head(maps), target)[:, None], chosen(logits_without(head, maps), target).T


def weights(head, maps, target):
    before, after = before_and_after(head, maps, target)
    return (before - after) / before


def kept_alone(head, maps, target):
    eye = torch.eye(maps.shape[1])[:, :, None, None]
    before = chosen(head(maps), target)[:, None]
    return 1 - torch.stack([chosen(head(maps * keep), target) for keep in eye], 1) / before


def removed_for_good(head, maps, target):
    before, after, maps = chosen(head(maps), target), [], maps.clone()
    for k in range(maps.shape[1]):
        maps[:, k] = 0
        after.append(chosen(head(maps), target))
    return 1 - torch.stack(after, 1) / before[:, None]


def set_to_mean(head, maps, target):
    before, columns = chosen(head(maps), target), []
    for k in range(maps.shape[1]):
        changed = maps.clone()
        changed[:, k] = changed[:, k].mean((1, 2), keepdim=True)
        columns.append(1 - chosen(head(changed), target) / before)
    return torch.stack(columns, 1)


def overwriting(head, maps, target):
    answer = weights(head, maps, target)
    maps.zero_()
    return answer


def probabilities(head, maps, target):
    return weights(lambda some: head(some).softmax(1), maps, target)


WRONG_WEIGHTS = {
    "kept map k": kept_alone,
    "sign is turned": lambda *question: -weights(*question),
    "did not divide": lambda *question: torch.sub(*before_and_after(*question)),
    "score without map k": lambda *question: 1 / (1 - weights(*question)) - 1,
    "share that is left": lambda *question: 1 - weights(*question),
    "its top class": lambda head, maps, target: weights(head, maps, head(maps).argmax(1)),
    "class of the first": lambda head, maps, target: weights(head, maps, target[:1].expand(len(maps))),
    "used probabilities": probabilities,
    "stay removed": removed_for_good,
    "mean over places": set_to_mean,
    "writes into the maps": overwriting,
    "has shape": lambda *question: weights(*question).T,
    "batch of one": lambda *question: weights(*question).squeeze(),
}


def one_by_one(head, maps, target):
    rows = []
    for n in range(len(maps)):
        y = head(maps[n : n + 1])[0, target[n]]
        row = []
        for k in range(maps.shape[1]):
            changed = maps[n : n + 1].clone()
            changed[:, k] = 0
            row.append((y - head(changed)[0, target[n]]) / y)
        rows.append(torch.stack(row))
    return torch.stack(rows)


def in_one_batch(head, maps, target):
    count, channels = maps.shape[:2]
    keep = 1 - torch.eye(channels)
    many = (maps[:, None] * keep[None, :, :, None, None]).flatten(0, 1)
    after = head(many).view(count, channels, -1)[torch.arange(count), :, target]
    return 1 - after / head(maps).gather(1, target[:, None])


RIGHT_WEIGHTS = {
    "loop over maps": weights,
    "loop over all": one_by_one,
    "one batch": in_one_batch,
    "numpy": lambda *question: weights(*question).numpy(),
}


def large(layers, size, **options):
    options = {"mode": "bilinear", "align_corners": False} | options
    return torch.stack([F.interpolate(maps[:, None], size, **options)[:, 0] for maps in layers])


def scaled(layers):
    return [F.normalize(maps.flatten(1), float("inf")).view_as(maps) for maps in layers]


WRONG_FUSED = {
    "averaged over the layers": lambda layers, size: large(scaled(layers), size).mean(0),
    "added the layers": lambda layers, size: large(scaled(layers), size).sum(0),
    "multiplied the layers": lambda layers, size: large(scaled(layers), size).prod(0),
    "smallest value": lambda layers, size: large(scaled(layers), size).amin(0),
    "not scaled": lambda layers, size: large(layers, size).amax(0),
    "scaled after fusing": lambda layers, size: scaled([large(layers, size).amax(0)])[0],
    "over the whole batch": lambda layers, size: large([m / m.max() for m in layers], size).amax(0),
    "of the enlarged map": lambda layers, size: torch.stack(scaled(large(layers, size))).amax(0),
    "subtracted the minimum": lambda layers, size: large(
        scaled([m - m.amin((1, 2), keepdim=True) for m in layers]), size
    ).amax(0),
    "align_corners=True": lambda layers, size: large(scaled(layers), size, align_corners=True).amax(0),
    "nearest": lambda layers, size: large(scaled(layers), size, mode="nearest", align_corners=None).amax(0),
    "gives NaN": lambda layers, size: large([m / m.amax((1, 2), keepdim=True) for m in layers], size).amax(0),
    "squeeze": lambda layers, size: large(scaled(layers), size).amax(0)[:, None],
    "where one layer's map is zero": lambda layers, size: large(
        [m for m in scaled(layers) if m.amax((1, 2)).all()], size
    ).amax(0),
}


def with_a_loop(layers, size):
    result = torch.zeros(len(layers[0]), *size)
    for maps in layers:
        top = maps.amax((1, 2), keepdim=True)
        maps = torch.where(top > 0, maps / top, 0.0)
        result = torch.maximum(result, F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0])
    return result


RIGHT_FUSED = {
    "loop": with_a_loop,
    "stack": lambda layers, size: large(scaled(layers), size).amax(0),
    "small number": lambda layers, size: large([m / (m.amax((1, 2), keepdim=True) + 1e-7) for m in layers], size).amax(
        0
    ),
    "numpy": lambda layers, size: with_a_loop(layers, size).numpy(),
}

ANSWERS = {
    "ablation_weights": (RIGHT_WEIGHTS, WRONG_WEIGHTS),
    "fused": (RIGHT_FUSED, WRONG_FUSED),
}
test_solution_and_blank, test_right_ways, test_wrong_answers, test_strict = answer_tests(
    cam_family, "cam_family", ANSWERS
)
