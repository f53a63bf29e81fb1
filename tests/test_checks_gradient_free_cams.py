"""The checkers of lesson *gradient_free_cams* accept the folded solutions, name known mistakes and wait."""

import torch

from answers import answer_tests
from helpers.checks import gradient_free_cams


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
    "wrote into `maps`": overwriting,
    "have shape": lambda *question: weights(*question).T,
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


def gradient_times_map(head, maps, target):
    leaf = maps.clone().requires_grad_()
    chosen(head(leaf), target).sum().backward()
    return (leaf.grad * maps).sum((2, 3))


WRONG_WEIGHTS |= {
    "negative weights to zero": lambda *question: weights(*question).relu(),
    "absolute values": lambda *question: weights(*question).abs(),
    "gradient's prediction": lambda head, maps, target: (
        gradient_times_map(head, maps, target) / chosen(head(maps), target)[:, None]
    ),
    "divide by the score": gradient_times_map,
    "add up to one": lambda *question: weights(*question) / weights(*question).sum(1, keepdim=True),
    "largest weight": lambda *question: weights(*question) / weights(*question).abs().amax(1, keepdim=True),
}


def iterated(maps, steps, scaled=True):
    found = []
    for rows in maps.flatten(2):
        v = torch.ones(len(rows))
        for _ in range(steps):
            v = rows @ (rows.T @ v)
            if scaled:
                v = v / v.norm()
        found.append((v @ rows).view(maps.shape[2:]))
    return torch.stack(found)


def by_gram_matrix(maps, steps):
    rows = maps.flatten(2)
    gram = rows @ rows.mT
    v = torch.ones(*rows.shape[:2], 1)
    for _ in range(steps):
        v = gram @ v
        v = v / v.norm(dim=1, keepdim=True)
    return (v.mT @ rows).view(len(maps), *maps.shape[2:])


def limit(maps, steps):
    return iterated(maps, 100)


def whole_batch(maps, steps):
    rows = maps.flatten(2)
    v = torch.ones(*rows.shape[:2], 1)
    for _ in range(steps):
        v = rows @ (rows.mT @ v)
        v = v / v.norm()
    return (v.mT @ rows).view(len(maps), *maps.shape[2:])


def one_vector(maps, steps):
    rows = maps.transpose(0, 1).flatten(1)
    v = torch.ones(len(rows))
    for _ in range(steps):
        v = rows @ (rows.T @ v)
        v = v / v.norm()
    return torch.einsum("k,nkij->nij", v, maps)


def vectors(maps, steps):
    rows = maps.flatten(2)
    v = torch.ones(*rows.shape[:2], 1)
    for _ in range(steps):
        v = rows @ (rows.mT @ v)
        v = v / v.norm(dim=1, keepdim=True)
    return v[..., 0]


def squaring(maps, steps):
    answer = iterated(maps, steps)
    maps.square_()
    return answer


RIGHT_ITERATION = {
    "one by one": iterated,
    "Gram matrix": by_gram_matrix,
    "numpy": lambda maps, steps: iterated(maps, steps).numpy(),
}
WRONG_ITERATION = {
    "this is the limit": limit,
    "no step was taken": lambda maps, steps: maps.sum(1),
    "one step more": lambda maps, steps: iterated(maps, steps + 1),
    "one step less": lambda maps, steps: iterated(maps, steps - 1),
    "divide v by its length": lambda maps, steps: iterated(maps, steps, scaled=False),
    "centred version": lambda maps, steps: iterated(maps - maps.mean((2, 3), keepdim=True), steps),
    "and not the map": lambda maps, steps: (
        iterated(maps, steps) / iterated(maps, steps).flatten(1).norm(dim=1)[:, None, None]
    ),
    "you returned v": vectors,
    "share one v": one_vector,
    "averaged over the maps": lambda maps, steps: iterated(maps, steps) / maps.shape[1],
    "sign is turned": lambda maps, steps: -iterated(maps, steps),
    "over the whole batch": whole_batch,
    "ignores `steps`": lambda maps, steps: iterated(maps, 2),
    "wrote into `maps`": squaring,
}

(
    test_the_folded_solution_is_right_and_a_blank_is_not_wrong,
    test_any_right_way_is_accepted,
    test_a_wrong_answer_gets_its_own_hint,
    test_strict_refuses_a_wrong_answer,
) = answer_tests(
    gradient_free_cams,
    "gradient_free_cams",
    {
        "ablation_weights": (RIGHT_WEIGHTS, WRONG_WEIGHTS),
        "power_iteration": (RIGHT_ITERATION, WRONG_ITERATION),
    },
)
