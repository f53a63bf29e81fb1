"""The checker of lesson *gradient_free_cams* accepts the folded solution, names known mistakes and waits."""

import torch

from answers import answer_tests
from helpers.checks import gradient_free_cams


def in_place(pictures):
    pictures[:] = pictures.flip(2, 3)
    return pictures


RIGHT = {
    "two quarters": lambda pictures: pictures.rot90(2, (2, 3)),
    "numpy": lambda pictures: pictures.numpy()[:, :, ::-1, ::-1].copy(),
}
WRONG = {
    "nothing has changed": lambda pictures: pictures,
    "left for right": lambda pictures: pictures.flip(3),
    "upside down": lambda pictures: pictures.flip(2),
    "a quarter of a turn": lambda pictures: pictures.rot90(1, (2, 3)),
    "changed places": lambda pictures: pictures.transpose(2, 3),
    "the colours": lambda pictures: pictures.flip(1, 2, 3),
    "the batch": lambda pictures: pictures.flip(0, 2, 3),
    "you were given have changed": in_place,
    "off by": lambda pictures: torch.zeros_like(pictures),
}


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

(
    test_the_folded_solution_is_right_and_a_blank_is_not_wrong,
    test_any_right_way_is_accepted,
    test_a_wrong_answer_gets_its_own_hint,
    test_strict_refuses_a_wrong_answer,
) = answer_tests(gradient_free_cams, "gradient_free_cams", {"half_turn": (RIGHT, WRONG)})

# Its exercise is not in the lesson yet, so that there is no folded solution to test
(
    _,
    test_any_right_way_to_the_weights_is_accepted,
    test_wrong_weights_get_their_own_hint,
    test_strict_refuses_wrong_weights,
) = answer_tests(gradient_free_cams, "gradient_free_cams", {"ablation_weights": (RIGHT_WEIGHTS, WRONG_WEIGHTS)})
