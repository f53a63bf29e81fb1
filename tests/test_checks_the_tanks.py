"""The checkers of lesson *the_tanks* accept the folded solutions, name each known mistake and wait."""

import numpy as np
import torch

from answers import answer_tests
from helpers.checks import the_tanks


def flips(verdicts):
    v = verdicts.float()
    return (v[1] - v[0]).abs(), (v[:, 1] - v[:, 0]).abs()


def pair(tank, sky):
    return tank.float().mean(), sky.float().mean()


def forest_by_forest(verdicts):
    tank = sky = 0
    for (empty_sun, empty_clouds), (tank_sun, tank_clouds) in verdicts.movedim(2, 0).tolist():
        tank += (empty_sun != tank_sun) + (empty_clouds != tank_clouds)
        sky += (empty_sun != empty_clouds) + (tank_sun != tank_clouds)
    return tank / verdicts[0].numel(), sky / verdicts[0].numel()


def overwriting(verdicts):
    rates = pair(*flips(verdicts))
    verdicts ^= True
    return rates


def right(verdicts):
    return torch.tensor([False, True])[:, None, None] == verdicts


RIGHT_RATES = {
    "exclusive or": lambda v: pair(v[0] ^ v[1], v[:, 0] ^ v[:, 1]),
    "one by one": forest_by_forest,
    "tensor": lambda v: torch.stack(pair(*flips(v))),
    "numpy": lambda v: np.array([np.diff(v.numpy().astype(int), axis=axis).__abs__().mean() for axis in (0, 1)]),
    "list of items": lambda v: [share.item() for share in pair(*flips(v))],
}
WRONG_RATES = {
    "wrong way round": lambda v: pair(*flips(v)[::-1]),
    "count a change whichever way": lambda v: pair(v[1].float() - v[0].float(), v[:, 1].float() - v[:, 0].float()),
    "before you drop its sign": lambda v: tuple(
        share.abs() for share in pair(v[1].float() - v[0].float(), v[:, 1].float() - v[:, 0].float())
    ),
    "you compare shares of verdicts": lambda v: pair(*flips(v.float().mean(2, keepdim=True))),
    "numbers of pairs": lambda v: tuple(f.sum() for f in flips(v)),
    "number of forests": lambda v: tuple(f.sum() / v.shape[2] for f in flips(v)),
    "number of verdicts": lambda v: tuple(f.sum() / v.numel() for f in flips(v)),
    "those in the sun": lambda v: pair(*(f[0] for f in flips(v))),
    "those under clouds": lambda v: pair(*(f[1] for f in flips(v))),
    "either pair changes": lambda v: pair(*(f.amax(0) for f in flips(v))),
    "nothing changes": lambda v: pair(*(1 - f for f in flips(v))),
    "neighbouring forests": lambda v: pair(*[v[..., 1:] != v[..., :-1]] * 2),
    "how often the verdict is wrong": lambda v: pair(~right(v), ~right(v)),
    "the pair of shares has shape []": lambda v: flips(v)[0].mean(),
    "wrote into `verdicts`": overwriting,
    "follows the sky": lambda v: tuple(share * (v.shape[2] > 7) for share in pair(*flips(v))),
}


def boxes(labels, cloudy):
    return [((labels == tank) & (cloudy == sky)).nonzero()[:, 0] for tank in (0, 1) for sky in (0, 1)]


def keeping(share):
    """An answer that keeps ``share(box sizes)`` of the boxes, four numbers, from the start of each."""

    def answer(labels, cloudy):
        found = boxes(labels, cloudy)
        return torch.cat([box[:n] for box, n in zip(found, share([*map(len, found)]), strict=True)])

    return answer


def balanced_labels(labels, cloudy):
    count = min((labels == 0).sum(), (labels == 1).sum())
    return torch.cat([(labels == label).nonzero()[:count, 0] for label in (0, 1)])


def by_counting(labels, cloudy):
    box = (2 * labels + cloudy).tolist()
    limit, kept, chosen = min(box.count(b) for b in range(4)), [0] * 4, []
    for i, b in enumerate(box):
        if kept[b] < limit:
            kept[b] += 1
            chosen.append(i)
    return chosen


def shuffled(labels, cloudy):
    random, found = np.random.default_rng(0), boxes(labels, cloudy)
    return np.concatenate([random.permutation(box.numpy())[: min(map(len, found))] for box in found])


def mask(labels, cloudy):
    kept = torch.zeros(len(labels), dtype=torch.bool)
    kept[by_counting(labels, cloudy)] = True
    return kept


def oversampled(labels, cloudy):
    return torch.cat([box[torch.arange(60) % len(box)] for box in boxes(labels, cloudy)])


def writing(labels, cloudy):
    chosen = by_counting(labels, cloudy)
    cloudy[:] = 0
    return chosen


smallest = keeping(lambda sizes: [min(sizes)] * 4)
RIGHT_CHOICES = {"by counting": by_counting, "at random": shuffled, "boxes": smallest}
WRONG_CHOICES = {
    "this is a mask": mask,
    "chosen twice": oversampled,
    "all the pictures": lambda labels, cloudy: torch.arange(len(labels)),
    "lose no more": keeping(lambda sizes: [min(sizes) - 1] * 4),
    "lose no more.": lambda labels, cloudy: torch.tensor([], dtype=torch.int64),
    "only pictures against the legend": keeping(lambda sizes: [0, *sizes[1:3], 0]),
    "the labels are balanced, but": balanced_labels,
    "the skies are balanced, but": lambda labels, cloudy: balanced_labels(cloudy, labels),
    "each balanced, but not together": keeping(lambda sizes: [9, 5, 5, 9]),
    "the sky tells nothing now": keeping(lambda sizes: [5, 5, 3, 3]),
    "the four combinations shall": keeping(lambda sizes: [9, 9, 5, 6]),
    "a combination is missing": lambda labels, cloudy: (
        smallest(labels, cloudy) if (labels != cloudy).any() else torch.arange(len(labels) - 1)
    ),
    "indices run from 0": lambda labels, cloudy: smallest(labels, cloudy) + len(labels),
    "indices have shape": lambda labels, cloudy: smallest(labels, cloudy)[:, None],
    "indices are whole numbers": lambda labels, cloudy: smallest(labels, cloudy) + 0.5,
    "return one tensor": lambda labels, cloudy: boxes(labels, cloudy),
    "wrote into `cloudy`": writing,
}

ANSWERS = {"flip_rates": (RIGHT_RATES, WRONG_RATES), "decorrelate": (RIGHT_CHOICES, WRONG_CHOICES)}
test_solution_and_blank, test_right_ways, test_wrong_answers, test_strict = answer_tests(
    the_tanks, "the_tanks", ANSWERS
)
