"""The checkers of lesson *occlusion* accept the folded solutions, name each known mistake and wait."""

import torch
import torch.nn.functional as F

from answers import answer_tests
from helpers.checks import occlusion


def squares(falls, patch, stride):
    """Each square's corner and fall."""
    return [(i * stride, j * stride, falls[i, j]) for i in range(len(falls)) for j in range(falls.shape[1])]


def total(falls, patch, stride, side):
    result = torch.zeros(side, side)
    for top, left, fall in squares(falls, patch, stride):
        result[top : top + patch, left : left + patch] += fall
    return result


def count(falls, patch, stride, side):
    return total(torch.ones_like(falls), patch, stride, side)


def overwritten(falls, patch, stride, side):
    result = torch.zeros(side, side)
    for top, left, fall in squares(falls, patch, stride):
        result[top : top + patch, left : left + patch] = fall
    return result


def folded_up(falls, patch, stride, side):
    """The same with torch's own fold."""
    columns = falls.reshape(1, 1, -1).expand(1, patch**2, -1)
    add_up = torch.nn.Fold(side, patch, stride=stride)
    return (add_up(columns) / add_up(torch.ones_like(columns)))[0, 0]


def transposed_convolution(falls, patch, stride, side):
    ones = torch.ones(1, 1, patch, patch)
    sums = [F.conv_transpose2d(f[None, None], ones, stride=stride) for f in (falls, torch.ones_like(falls))]
    return (sums[0] / sums[1])[0, 0].numpy()


RIGHT_SPREADS = {"fold": folded_up, "convolution": transposed_convolution, "numpy": lambda *a: folded_up(*a).numpy()}
WRONG_SPREADS = {
    "not divided by how many": total,
    "the border is not": lambda *a: total(*a) / count(*a).max(),
    "by the pixels of a square": lambda falls, patch, *a: total(falls, patch, *a) / patch**2,
    "number of all squares": lambda falls, *a: total(falls, *a) / falls.numel(),
    "rows and columns are swapped": lambda *a: (total(*a) / count(*a)).T,
    "overwrites": overwritten,
    "sign is turned": lambda *a: -total(*a) / count(*a),
    "absolute values": lambda falls, *a: total(falls.abs(), *a) / count(falls, *a),
    "this is the number of squares": count,
    "has shape": lambda *a: total(*a)[:-1] / count(*a)[:-1],
    "holds 1 values that are NaN": lambda *a: (total(*a) / count(*a)).index_put(
        (torch.tensor(0),) * 2, torch.tensor(torch.nan)
    ),
    "stopped with": lambda falls, patch, stride, side: falls.view(side, side),
}


def gathered(scores, masks, divisor):
    return torch.einsum("nc,nij->cij", scores, masks) / divisor


def centre(logits):
    return logits - logits.mean(0)


def whole(masks, p):
    return len(masks) * p * (1 - p)


RIGHT_MAPS = {
    "masks not centred": lambda y, M, p: gathered(centre(y), M, whole(M, p)),
    "matrix product": lambda y, M, p: (centre(y).T @ (M - p).flatten(1)).view(-1, *M.shape[1:]) / whole(M, p),
    "loop": lambda y, M, p: torch.stack(
        [((c - c.mean()).view(-1, 1, 1) * (M - p)).mean(0) / (p * (1 - p)) for c in y.T]
    ),
    "masks centred by their mean": lambda y, M, p: gathered(y, M - M.mean(0), whole(M, p)),
}
WRONG_MAPS = {
    "RISE as published": lambda y, M, p: gathered(y, M, len(M) * p),
    "the scores are not centred": lambda y, M, p: gathered(y, M - p, whole(M, p)),
    "neither scores nor masks": lambda y, M, p: gathered(y, M, whole(M, p)),
    "one mean over all classes": lambda y, M, p: gathered(y - y.mean(), M - p, whole(M, p)),
    "mean over the classes": lambda y, M, p: gathered(y - y.mean(1, keepdim=True), M - p, whole(M, p)),
    "by p alone": lambda y, M, p: gathered(centre(y), M - p, len(M) * p),
    "by the number of masks": lambda y, M, p: gathered(centre(y), M, p * (1 - p)),
    "you forgot to divide by p (1 - p)": lambda y, M, p: gathered(centre(y), M - p, len(M)),
    "maps are of probabilities": lambda y, M, p: gathered(centre(y.softmax(1)), M - p, whole(M, p)),
    "has shape": lambda y, M, p: gathered(centre(y), M - p, whole(M, p)).sum(0),
}

ANSWERS = {
    "spread": (RIGHT_SPREADS, WRONG_SPREADS),
    "rise_maps": (RIGHT_MAPS, WRONG_MAPS),
}
test_solution_and_blank, test_right_ways, test_wrong_answers, test_strict = answer_tests(
    occlusion, "occlusion", ANSWERS
)
