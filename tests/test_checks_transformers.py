"""The checkers of lesson *transformers* accept the folded solutions, name known mistakes and wait."""

import numpy as np
import torch

from answers import answer_tests
from helpers.checks import transformers


def by_loops(tokens, h, w):
    maps = np.zeros((len(tokens), tokens.shape[2], h, w))
    for i in range(h):
        for j in range(w):
            maps[:, :, i, j] = tokens[:, 1 + i * w + j].numpy()
    return maps


def rollout(tables, half=0.5, heads=lambda A: A.mean(0), turned=False):
    unit = torch.eye(tables[0].shape[-1])
    R = unit
    for A in tables:
        mixed = half * heads(A) + (1 - half) * unit
        R = R @ mixed if turned else mixed @ R
    return R


def of_numpy(tables):
    mixed = [A.numpy().mean(0) / 2 + np.eye(A.shape[-1]) / 2 for A in tables]
    return np.linalg.multi_dot(mixed[::-1])[0][1:]


def added_in_place(R, A, gradient):
    R += (A * gradient).relu().mean(0) @ R
    return R


def by_heads(R, A, gradient):
    total = torch.zeros_like(R)
    for a, g in zip(A, gradient, strict=True):
        total = total + (a * g).clamp(min=0) / len(A)
    return (torch.eye(len(R)) + total) @ R


AS_MAPS = (
    {
        "loops and numpy": by_loops,
        "view": lambda t, h, w: t[:, 1:].permute(0, 2, 1).contiguous().view(len(t), -1, h, w),
    },
    {
        "leave out the first token": lambda t, h, w: t[:, :-1].mT.unflatten(2, (h, w)),
        "exchange the two axes first": lambda t, h, w: t[:, 1:].reshape(len(t), -1, h, w),
        "come before the rows and columns": lambda t, h, w: t[:, 1:].unflatten(1, (h, w)),
        "a row has w of them": lambda t, h, w: t[:, 1:].mT.unflatten(2, (w, h)),
        "read column by column": lambda t, h, w: t[:, 1:].mT.unflatten(2, (w, h)).mT,
        "still flat": lambda t, h, w: t[:, 1:].mT,
        "wrote into `t`": lambda t, h, w: t.mul_(2)[:, 1:].mT.unflatten(2, (h, w)) / 2,
    },
)
ROLLOUT = (
    {
        "numpy": of_numpy,
        "einsum": lambda tables: torch.einsum(
            "ij,jk,kl->il", *(A.mean(0) / 2 + torch.eye(6) / 2 for A in reversed(tables))
        )[0, 1:],
    },
    {
        "turned round": lambda tables: rollout(tables, turned=True)[0, 1:],
        "the shortcut is missing": lambda tables: rollout(tables, half=1.0)[0, 1:],
        "the sum not halved": lambda tables: 8 * rollout(tables)[0, 1:],
        "this is the last table alone; multiply": lambda tables: rollout(tables[-1:])[0, 1:],
        "last table alone, without the shortcut": lambda tables: tables[-1].mean(0)[0, 1:],
        "the heads were summed": lambda tables: rollout(tables, heads=lambda A: A.sum(0))[0, 1:],
        "the largest head": lambda tables: rollout(tables, heads=lambda A: A.amax(0))[0, 1:],
        "only the first head": lambda tables: rollout(tables, heads=lambda A: A[0])[0, 1:],
        "leave out the first value": lambda tables: rollout(tables)[0],
        "this is the whole table": rollout,
        "a column was taken": lambda tables: rollout(tables)[1:, 0],
        "the mean of all rows": lambda tables: rollout(tables).mean(0)[1:],
    },
)
STEP = (
    {"one head after the other": by_heads, "numpy": lambda R, A, g: (R + by_heads(R, A, g) - R).numpy()},
    {
        "the ReLU is missing": lambda R, A, g: R + (A * g).mean(0) @ R,
        "the ReLU came after": lambda R, A, g: R + (A * g).mean(0).relu() @ R,
        "multiply in each head first": lambda R, A, g: R + (A.mean(0) * g.mean(0)).relu() @ R,
        "the magnitude": lambda R, A, g: R + (A * g).abs().mean(0) @ R,
        "the heads were summed": lambda R, A, g: R + (A * g).relu().sum(0) @ R,
        "the old R is missing": lambda R, A, g: (A * g).relu().mean(0) @ R,
        "on the left of the product": lambda R, A, g: R + R @ (A * g).relu().mean(0),
        "multiply the two tables as matrices": lambda R, A, g: R + (A * g).relu().mean(0) * R,
        "only the table of this block": lambda R, A, g: R + (A * g).relu().mean(0),
        "the identity was added": lambda R, A, g: torch.eye(5) + (A * g).relu().mean(0) @ R,
        "the attention was left out": lambda R, A, g: R + g.relu().mean(0) @ R,
        "wrote into `R`": added_in_place,
    },
)
(
    test_the_folded_solution_is_right_and_a_blank_is_not_wrong,
    test_any_right_way_is_accepted,
    test_a_wrong_answer_gets_its_own_hint,
    test_strict_refuses_a_wrong_answer,
) = answer_tests(transformers, "transformers", {"as_maps_of": AS_MAPS, "rollout_of": ROLLOUT, "step": STEP})
