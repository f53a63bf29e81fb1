"""The checkers of lesson *occlusion* accept the folded solutions, name each known mistake and wait."""

import numpy as np
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
    "upside down": lambda *a: (total(*a) / count(*a)).flip(0),
    "leave out the ReLU": lambda *a: (total(*a) / count(*a)).relu(),
    "scaled to one": lambda *a: (total(*a) / count(*a)) / (total(*a) / count(*a)).abs().max(),
    "has shape": lambda *a: total(*a)[:-1] / count(*a)[:-1],
    "has 1 values that are NaN": lambda *a: (total(*a) / count(*a)).index_put(
        (torch.tensor(0),) * 2, torch.tensor(torch.nan)
    ),
    "stopped with": lambda falls, patch, stride, side: falls.view(side, side),
}


def gathered(scores, masks, divisor):
    return torch.einsum("nc,nij->cij", scores, masks) / divisor


def centre(logits):
    return logits - logits.mean(0)


def whole(masks):
    return len(masks) * masks.var()


def hard(masks):
    return masks.mean() * (1 - masks.mean())


def in_place(logits, masks):
    logits -= logits.mean(0)
    return gathered(logits, masks, whole(masks))


def by_numpy(logits, masks):
    y, m = logits.numpy(), masks.numpy()
    return np.tensordot(y - y.mean(0), m, (0, 0)) / (len(m) * m.var())


RIGHT_MAPS = {
    "masks not centred": lambda y, M: gathered(centre(y), M, whole(M)),
    "matrix product": lambda y, M: (centre(y).T @ (M - M.mean()).flatten(1)).view(-1, *M.shape[1:]) / whole(M),
    "loop": lambda y, M: torch.stack([((c - c.mean()).view(-1, 1, 1) * (M - 0.5)).mean(0) / M.var() for c in y.T]),
    "masks centred by their mean": lambda y, M: gathered(y, M - M.mean(0), whole(M)),
    "variance over the number of values": lambda y, M: gathered(centre(y), M, len(M) * M.var(correction=0)),
    "mean of squares": lambda y, M: gathered(centre(y), M, len(M) * (M - M.mean()).square().mean()),
    "numpy": by_numpy,
    "double": lambda y, M: gathered(centre(y).double(), M.double(), whole(M.double())),
}
WRONG_MAPS = {
    "RISE as published": lambda y, M: gathered(y, M, len(M) * M.mean()),
    "with a squared in place of a - b, where a is a tensor of shape [60, 7, 8]": lambda y, masks: gathered(
        centre(y), masks**2, whole(masks)
    ),
    "the scores are not centred": lambda y, M: gathered(y, M - M.mean(), whole(M)),
    "neither scores nor masks are": lambda y, M: gathered(y, M, whole(M)),
    "one mean over all classes": lambda y, M: gathered(y - y.mean(), M - M.mean(), whole(M)),
    "mean over the classes": lambda y, M: gathered(y - y.mean(1, keepdim=True), M - M.mean(), whole(M)),
    "masks of zeros and ones": lambda y, M: gathered(centre(y), M, len(M) * hard(M)),
    "by p alone": lambda y, M: gathered(centre(y), M, len(M) * M.mean()),
    "standard deviation": lambda y, M: gathered(centre(y), M, len(M) * M.std()),
    "a variance of its own": lambda y, M: gathered(centre(y), M, len(M) * M.var(0)),
    "divide by the number of masks.": lambda y, M: gathered(centre(y), M, M.var()),
    "you forgot to divide by the variance": lambda y, M: gathered(centre(y), M, len(M)),
    "neither divide by the number": lambda y, M: gathered(centre(y), M, 1),
    "sign is turned": lambda y, M: -gathered(centre(y), M, whole(M)),
    "leave out the ReLU": lambda y, M: gathered(centre(y), M, whole(M)).relu(),
    "absolute values": lambda y, M: gathered(centre(y), M, whole(M)).abs(),
    "maps are of probabilities": lambda y, M: gathered(centre(y.softmax(1)), M, whole(M)),
    "wrote into `logits`": in_place,
    "have shape": lambda y, M: gathered(centre(y), M, whole(M)).sum(0),
}

ANSWERS = {
    "spread": (RIGHT_SPREADS, WRONG_SPREADS),
    "rise_maps": (RIGHT_MAPS, WRONG_MAPS),
}
test_solution_and_blank, test_right_ways, test_wrong_answers, test_strict = answer_tests(
    occlusion, "occlusion", ANSWERS
)
