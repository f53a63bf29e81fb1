"""The checkers of lesson *cam_family* accept the folded solutions, name each known mistake and wait."""

import torch
import torch.nn.functional as F

from answers import answer_tests
from helpers.checks import cam_family

PLACES = {"dim": (2, 3), "keepdim": True}


def grad_cam_plus(A, G):
    return (G.relu().mean(**PLACES) * A).sum(1).relu()


def over_places_and_places(A, G):
    return ((G.relu() * A).mean(**PLACES) * A).sum(1).relu()


def with_loops(A, G):
    maps = []
    for a, g in zip(A, G, strict=True):
        total = torch.zeros(a.shape[1:])
        for k in range(len(a)):
            total += g[k].clamp(min=0).mean() * a[k]
        maps.append(total.clamp(min=0))
    return torch.stack(maps)


def changing_the_gradient(A, G):
    G.relu_()
    return grad_cam_plus(A, G)


WRONG_PLUS = {
    "a ReLU is missing": lambda A, G: (G.mean(**PLACES) * A).sum(1).relu(),
    "comes too late": lambda A, G: (G.mean(**PLACES).relu() * A).sum(1).relu(),
    "this is LayerCAM": lambda A, G: (G.relu() * A).sum(1).relu(),
    "which is HiResCAM": lambda A, G: (G * A).sum(1).relu(),
    "positive products": lambda A, G: (G * A).relu().sum(1),
    "average the gradient alone": over_places_and_places,
    "absolute value": lambda A, G: (G.abs().mean(**PLACES) * A).sum(1).relu(),
    "take their mean": lambda A, G: (G.relu().sum(**PLACES) * A).sum(1).relu(),
    "number of positive gradients": lambda A, G: (G.relu().sum(**PLACES) / (G > 0).sum(**PLACES) * A).sum(1).relu(),
    "last ReLU is missing": lambda A, G: (G.relu().mean(**PLACES) * A).sum(1),
    "too early": lambda A, G: (G.relu().mean(**PLACES) * A).relu().sum(1),
    "averaged over the maps": lambda A, G: (G.relu().mean(**PLACES) * A).mean(1).relu(),
    "over the whole batch": lambda A, G: (G.relu().mean((0, 2, 3))[None, :, None, None] * A).sum(1).relu(),
    "class-blind sum": lambda A, G: A.sum(1).relu(),
    "wrote into `G`": changing_the_gradient,
    "has shape": lambda A, G: grad_cam_plus(A, G)[:, None],
    "single picture": lambda A, G: grad_cam_plus(A, G).squeeze(0) if len(A) == 1 else grad_cam_plus(A, G),
}
RIGHT_PLUS = {
    "einsum": lambda A, G: torch.einsum("nk,nkij->nij", G.clamp(min=0).mean((2, 3)), A).relu(),
    "loops": with_loops,
    "numpy": lambda A, G: with_loops(A, G).numpy(),
    "double precision": lambda A, G: (G.relu().mean(**PLACES).double() * A.double()).sum(1).relu(),
}


def large(layers, size, **options):
    options = {"mode": "bilinear", "align_corners": False} | options
    return torch.stack([F.interpolate(maps[:, None], size, **options)[:, 0] for maps in layers])


def scaled(layers):
    return [F.normalize(maps.flatten(1), float("inf")).view_as(maps) for maps in layers]


def dividing_in_place(layers, size):
    return large([maps.div_(maps.amax((1, 2), keepdim=True).clamp(min=1e-9)) for maps in layers], size).amax(0)


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
    "you divide once more at the end": lambda layers, size: scaled([large(scaled(layers), size).amax(0)])[0],
    "wrote into `layers[0]`": dividing_in_place,
    "the list `layers` has other entries": lambda layers, size: large(scaled([layers.pop(), *layers]), size).amax(0),
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
    "grad_cam_plus": (RIGHT_PLUS, WRONG_PLUS),
    "fused": (RIGHT_FUSED, WRONG_FUSED),
}
test_solution_and_blank, test_right_ways, test_wrong_answers, test_strict = answer_tests(
    cam_family, "cam_family", ANSWERS
)
