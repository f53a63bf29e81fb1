"""Checkers of lesson *transformers*: tokens as maps, attention rollout, one step of the relevance of Chefer et al."""

from collections.abc import Callable

import torch
from torch import Tensor

from helpers.checks.core import ask, checker, name_the_mistake


def _as_maps(tokens: Tensor, h: int, w: int) -> Tensor:
    patches = tokens[:, 1:]
    return patches.mT.unflatten(2, (h, w))


@checker
def check_as_maps_of(function: Callable[[Tensor, int, int], Tensor]) -> str:
    """Check ``function(tokens [N, 1 + h w, K], h, w) -> maps [N, K, h, w]`` on random tokens, h unlike w."""
    h, w, width = 3, 5, 4
    tokens = torch.randn(2, 1 + h * w, width, generator=torch.Generator().manual_seed(64))
    patches = tokens[:, 1:]
    right = patches.mT.unflatten(2, (h, w))
    mistakes = {
        "the class token was kept and the last patch left out; leave out the first token.": (
            tokens[:, :-1].mT.unflatten(2, (h, w))
        ),
        "a reshape to [N, K, h, w] mixes values and places; exchange the two axes first.": (
            patches.reshape(2, width, h, w)
        ),
        "the values stand last, [N, h, w, K]; they come before the rows and columns.": patches.unflatten(1, (h, w)),
        "rows and columns are exchanged: the tokens come row by row, and a row has w of them.": (
            patches.mT.unflatten(2, (w, h))
        ),
        "the tokens were read column by column; they come row by row.": patches.mT.unflatten(2, (w, h)).mT,
        "the maps are still flat; split the last axis into h rows of w.": patches.mT,
    }
    got = ask(function, tokens.clone(), h, w)
    name_the_mistake(got, mistakes, right, what="the result", by=_as_maps)
    return "each token has become a place, and each of its values a map."


def _rollout(
    tables: list[Tensor],
    *,
    share: float = 0.5,
    heads: Callable = lambda A: A.mean(0),
    left: bool = True,
    row: Callable = lambda R: R[0, 1:],
) -> Tensor:
    unit = torch.eye(tables[0].shape[-1])
    R = unit
    for A in tables:
        mixed = (1 - share) * heads(A) + share * unit
        R = mixed @ R if left else R @ mixed
    return row(R)


@checker
def check_rollout_of(function: Callable[[list[Tensor]], Tensor]) -> str:
    """Check ``function(tables: list of [heads, T, T]) -> shares [T - 1]`` on three random tables."""
    random = torch.Generator().manual_seed(65)
    tables = [(3 * torch.randn(2, 6, 6, generator=random)).softmax(-1) for _ in range(3)]
    unit = torch.eye(6)
    added = unit
    for A in tables:
        added = (A.mean(0) + unit) @ added
    mistakes = {
        "the product is turned round; the table of the last block stands on the left.": _rollout(tables, left=False),
        "the shortcut is missing; take half of the table and half of the identity.": _rollout(tables, share=0.0),
        "the identity was added, but the sum not halved, so the shares do not sum to one.": added[0, 1:],
        "this is the last table alone; multiply the tables of all blocks.": _rollout(tables[-1:]),
        "this is the last table alone, without the shortcut.": _rollout(tables[-1:], share=0.0),
        "the heads were summed; take their mean.": _rollout(tables, heads=lambda A: A.sum(0)),
        "the largest head was taken; take the mean over the heads.": _rollout(tables, heads=lambda A: A.amax(0)),
        "only the first head was taken; take the mean over the heads.": _rollout(tables, heads=lambda A: A[0]),
        "the share of the class token itself is still in it; leave out the first value.": (
            _rollout(tables, row=lambda R: R[0])
        ),
        "this is the whole table; take the row of the class token, the first one.": _rollout(tables, row=lambda R: R),
        "a column was taken: it says where the class token went. Take its row.": (
            _rollout(tables, row=lambda R: R[1:, 0])
        ),
        "the mean of all rows was taken; the logits are read from the class token, so take its row.": (
            _rollout(tables, row=lambda R: R.mean(0)[1:])
        ),
    }
    given = [A.clone() for A in tables]
    name_the_mistake(ask(function, given), mistakes, _rollout(tables), what="the result", by=_rollout)
    return "the shares run back through all blocks. No class occurs in them."


def _stepped(R: Tensor, A: Tensor, gradient: Tensor) -> Tensor:
    return R + (A * gradient).relu().mean(0) @ R


@checker
def check_step(function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> str:
    """Check ``function(R [T, T], A [heads, T, T], gradient [heads, T, T]) -> R [T, T]`` on random tables."""
    random = torch.Generator().manual_seed(66)
    A = torch.randn(3, 5, 5, generator=random).softmax(-1)
    gradient, R = torch.randn(3, 5, 5, generator=random), torch.rand(5, 5, generator=random)
    product = A * gradient
    kept = product.relu().mean(0)
    mistakes = {
        "the ReLU is missing; keep only what is positive.": R + product.mean(0) @ R,
        "the ReLU came after the mean over the heads; it belongs before it, in each head.": (
            R + product.mean(0).relu() @ R
        ),
        "the ReLU was applied to the gradient after all heads were averaged; multiply in each head first.": (
            R + (A.mean(0) * gradient.mean(0)).relu() @ R
        ),
        "the magnitude was taken; keep only what is positive.": R + product.abs().mean(0) @ R,
        "the heads were summed; take their mean.": R + product.relu().sum(0) @ R,
        "the old R is missing; add it, since it stands for the shortcut.": kept @ R,
        "R stands on the left of the product; the table of the new block has to.": R + R @ kept,
        "the product is value by value; multiply the two tables as matrices.": R + kept * R,
        "only the table of this block was added; multiply it with R.": R + kept,
        "the identity was added in place of the old R.": torch.eye(5) + kept @ R,
        "the attention was left out; multiply the gradient with it.": R + gradient.relu().mean(0) @ R,
    }
    given = [R.clone(), A.clone(), gradient.clone()]
    name_the_mistake(ask(function, *given), mistakes, R + kept @ R, what="the new R", by=_stepped)
    return "one block further, for the class whose gradient you took."
