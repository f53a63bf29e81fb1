"""The checkers of lesson *dream_and_inversion* accept the folded solutions, name each known mistake and wait."""

import torch
import torch.nn.functional as F

from answers import answer_tests
from helpers import synthesis
from helpers.checks import dream_and_inversion

ALL = (1, 2, 3)


def differences(x):
    here = x[:, :, :-1, :-1]
    return x[:, :, 1:, :-1] - here, x[:, :, :-1, 1:] - here


def by_convolution(x):
    kernels = torch.tensor([[[[-1.0, 0], [1, 0]]], [[[-1.0, 1], [0, 0]]]]).to(x)
    return F.conv2d(x.flatten(0, 1)[:, None], kernels).square().sum(1).view(*x.shape[:2], -1).mean((1, 2))


def overwriting(x):
    x -= x.mean()
    return synthesis.total_variation(x)


RIGHT_VARIATIONS = {
    "helper": synthesis.total_variation,
    "convolution": by_convolution,
    "one by one": lambda x: torch.stack([sum(d.square().mean() for d in differences(one)) for one in x.split(1)]),
    "numpy": lambda x: synthesis.total_variation(x).numpy(),
}
WRONG_VARIATIONS = {
    "you compare colours and rows: in": lambda x: sum(
        d.square() for d in (x.diff(dim=1)[:, :, :-1], x.diff(dim=2)[:, :-1])
    ).mean(ALL),
    "you compare colours and rows, each": lambda x: x.diff(dim=1).square().mean(ALL) + x.diff(dim=2).square().mean(ALL),
    "you compare colours with each other too": lambda x: (
        synthesis.total_variation(x) + x.diff(dim=1).square().mean(ALL)
    ),
    "to the right are missing": lambda x: differences(x)[0].square().mean(ALL),
    "down are missing": lambda x: differences(x)[1].square().mean(ALL),
    "sums over the pixels": lambda x: sum(d.square() for d in differences(x)).sum(ALL),
    "absolute values": lambda x: sum(d.abs() for d in differences(x)).mean(ALL),
    "the root of each pixel": lambda x: synthesis.total_variation(x, power=1),
    "squared the sum": lambda x: sum(differences(x)).square().mean(ALL),
    "signs are still there": lambda x: sum(differences(x)).mean(ALL),
    "this is half of it": lambda x: torch.stack(differences(x)).square().mean((0, 2, 3, 4)),
    "wherever it exists; take only": lambda x: x.diff(dim=2).square().mean(ALL) + x.diff(dim=3).square().mean(ALL),
    "no neighbours": lambda x: ((x.roll(-1, 2) - x).square() + (x.roll(-1, 3) - x).square()).mean(ALL),
    "above and on the left": lambda x: synthesis.total_variation(x.flip(2, 3)),
    "colours are added up": lambda x: sum(d.square() for d in differences(x)).mean((2, 3)).sum(1),
    "the sign is wrong": lambda x: -synthesis.total_variation(x),
    "pictures are mixed": lambda x: synthesis.total_variation(x).mean(),
    "one number for each colour": lambda x: sum(d.square() for d in differences(x)).mean((2, 3)),
    "wrote into `x`": overwriting,
    "of stripes": lambda x: synthesis.total_variation(x) * (1 + (x.shape[2] == 8)),
}


def products(maps, guide):
    return torch.einsum("nkij,km->nijm", maps, guide)


def cosines(maps, guide):
    return products(F.normalize(maps, dim=1), F.normalize(guide, dim=0))


def nearest(maps, guide):
    chosen = torch.cdist(maps.flatten(2).mT, guide.T.expand(len(maps), -1, -1)).argmin(2)  # [N, h w]
    return (maps.flatten(2) * guide[:, chosen].movedim(0, 1)).sum(1).mean(1)


def writing(maps, guide):
    score = products(maps, guide).amax(3).mean((1, 2))
    guide *= 2
    return score


RIGHT_SCORES = {
    "matrix product": lambda maps, guide: (maps.flatten(2).mT @ guide).amax(2).mean(1),
    "convolution": lambda maps, guide: F.conv2d(maps, guide.T[:, :, None, None]).amax(1).mean((1, 2)),
    "one by one": lambda maps, guide: torch.stack([(one.flatten(1).T @ guide).max(1)[0].mean() for one in maps]),
    "in single precision": lambda maps, guide: products(maps.float(), guide.float()).amax(3).mean((1, 2)),
}
WRONG_SCORES = {
    "the mean over the guide's codes": lambda maps, guide: products(maps, guide).mean(ALL),
    "add up over the guide's codes": lambda maps, guide: products(maps, guide).sum(3).mean((1, 2)),
    "chooses a place": lambda maps, guide: products(maps, guide).amax((1, 2)).mean(1),
    "only the best place": lambda maps, guide: products(maps, guide).amax(ALL),
    "sums over the places": lambda maps, guide: products(maps, guide).amax(3).sum((1, 2)),
    "these are cosines": lambda maps, guide: cosines(maps, guide).amax(3).mean((1, 2)),
    "choose by the cosine": lambda maps, guide: (
        products(maps, guide).gather(3, cosines(maps, guide).argmax(3, True)).mean(ALL)
    ),
    "nearest code": nearest,
    "the smallest product": lambda maps, guide: products(maps, guide).amin(3).mean((1, 2)),
    "came before the choice": lambda maps, guide: (maps.mean((2, 3)) @ guide).amax(1),
    "mixes them with the places": lambda maps, guide: (maps.reshape(len(maps), -1, len(guide)) @ guide).amax(2).mean(1),
    "divided by the number of channels": lambda maps, guide: products(maps, guide).amax(3).mean((1, 2)) / len(guide),
    "squared the products": lambda maps, guide: products(maps, guide).square().amax(3).mean((1, 2)),
    "the sign is wrong": lambda maps, guide: -products(maps, guide).amax(3).mean((1, 2)),
    "leave out the ReLU": lambda maps, guide: products(maps, guide).relu().amax(3).mean((1, 2)),
    "take absolute values": lambda maps, guide: products(maps, guide).abs().amax(3).mean((1, 2)),
    "pictures are mixed": lambda maps, guide: products(maps, guide).amax(3).mean(),
    "wrote into `guide`": writing,
    "maps with both signs": lambda maps, guide: products(maps.abs(), guide).amax(3).mean((1, 2)),
    "has no gradient": lambda maps, guide: products(maps.detach(), guide).amax(3).mean((1, 2)),
    "leave out detach() and numpy": lambda maps, guide: products(maps, guide).amax(3).mean((1, 2)).detach().numpy(),
}

ANSWERS = {
    "total_variation": (RIGHT_VARIATIONS, WRONG_VARIATIONS),
    "guided": (RIGHT_SCORES, WRONG_SCORES),
}
test_solution_and_blank, test_right_ways, test_wrong_answers, test_strict = answer_tests(
    dream_and_inversion, "dream_and_inversion", ANSWERS
)
