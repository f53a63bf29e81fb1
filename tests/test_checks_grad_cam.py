"""The checkers of lesson *grad_cam* accept the folded solutions, name each known mistake and wait."""

import torch
import torch.nn.functional as F

from answers import answer_tests
from helpers.checks import grad_cam


def add_up(weights, maps):
    return torch.einsum("nk,nkij->nij", weights, maps)


def mean(gradients):
    return gradients.mean((2, 3))


WRONG_MAPS = {
    "wrote into `A`": lambda A, G: A.mul_(mean(G)[..., None, None]).sum(1).relu_(),
    "HiResCAM": lambda A, G: (G * A).sum(1).relu(),
    "averaged the gradient over the channels": lambda A, G: torch.einsum("nij,nkij->nij", G.mean(1), A).relu(),
    "summed the gradient over the channels": lambda A, G: (G.sum(1, keepdim=True) * A).sum(1).relu(),
    "ReLU came too early": lambda A, G: add_up(mean(G.relu()), A).relu(),
    "weights went through the ReLU": lambda A, G: add_up(mean(G).relu(), A).relu(),
    "each map went through the ReLU": lambda A, G: (mean(G)[..., None, None] * A).relu().sum(1),
    "ReLU at the end is missing": lambda A, G: add_up(mean(G), A),
    "h x w times too large": lambda A, G: add_up(G.sum((2, 3)), A).relu(),
    "over the channels; add them up": lambda A, G: (mean(G)[..., None, None] * A).mean(1).relu(),
    "share their weights": lambda A, G: add_up(G.mean((0, 2, 3)).expand(len(A), -1), A).relu(),
    "scaled to": lambda A, G: F.normalize(add_up(mean(G), A).relu().flatten(1), float("inf")).view(-1, *A.shape[2:]),
    "squeeze": lambda A, G: add_up(mean(G), A).relu()[:, None],
    "batch of one": lambda A, G: add_up(mean(G), A).relu().squeeze(),
    "stopped with": lambda A, G: add_up(G.mean((1, 2)), A).relu(),
}
WRONG_EVIDENCE = {
    "wrote into `maps`": lambda maps, G: (-maps.mul_(mean(G)[..., None, None]).sum(1)).relu(),
    "this is Grad-CAM": lambda A, G: add_up(mean(G), A).relu(),
    "turned after the ReLU": lambda A, G: -add_up(mean(G), A).relu(),
    "minus is still there": lambda A, G: add_up(mean(G), A).clamp(max=0),
    "cut it off": lambda A, G: -add_up(mean(G), A),
    "absolute values": lambda A, G: add_up(mean(G), A).abs(),
    "only the maps with a negative weight": lambda A, G: add_up((-mean(G)).relu(), A).relu(),
    "ReLU came too early": lambda A, G: add_up(mean((-G).relu()), A).relu(),
    "not averaged over places": lambda A, G: (-G * A).sum(1).relu(),
}
RIGHT_MAPS = {
    "keepdim": lambda A, G: (G.mean((2, 3), keepdim=True) * A).sum(1).clamp(min=0),
    "loop": lambda A, G: torch.stack(
        [F.relu(sum(g.mean() * a for a, g in zip(*one, strict=True))) for one in zip(A, G, strict=True)]
    ),
    "matrix product": lambda A, G: (mean(G)[:, None] @ A.flatten(2)).view(len(A), *A.shape[2:]).relu(),
    "numpy": lambda A, G: add_up(mean(G), A).relu().numpy(),
}
RIGHT_EVIDENCE = {  # the minus may stand anywhere before the ReLU
    "gradients": lambda A, G: add_up(mean(-G), A).relu(),
    "minimum": lambda A, G: -add_up(mean(G), A).clamp(max=0),
}

ANSWERS = {
    "grad_cam_from": (RIGHT_MAPS, WRONG_MAPS),
    "evidence_against": (RIGHT_EVIDENCE, WRONG_EVIDENCE),
}
test_solution_and_blank, test_right_ways, test_wrong_answers, test_strict = answer_tests(grad_cam, "grad_cam", ANSWERS)
