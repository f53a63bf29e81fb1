"""Checkers of lesson *gradient_free_cams*: the weights of Ablation-CAM, and Eigen-CAM by power iteration."""

from collections.abc import Callable

import torch
from torch import Tensor, einsum, nn

from helpers.checks.core import ask, checker, name_the_mistake

Head = Callable[[Tensor], Tensor]


def _head() -> nn.Sequential:
    """Return a head with a hidden layer, maps [N, 5, 3, 4] -> logits [N, 4], all of them well above zero."""
    random = torch.Generator().manual_seed(9)
    head = nn.Sequential(nn.Flatten(), nn.Linear(60, 12), nn.ReLU(), nn.Linear(12, 4)).requires_grad_(False)
    for weights in head.state_dict().values():
        weights.copy_(torch.randn(weights.shape, generator=random) / 3)
    head[3].bias += 4
    return head


def _without(head: Head, maps: Tensor, keep: Tensor) -> Tensor:
    """Return the logits [K, N, classes] for maps multiplied by keep[k], [K, K], in turn."""
    return torch.stack([head(maps * row[:, None, None]) for row in keep])


def _predicted(head: Head, maps: Tensor, target: Tensor) -> Tensor:
    """Return gradient times map, summed over places, [N, K]: the loss of score that the gradient predicts."""
    with torch.enable_grad():
        leaf = maps.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(head(leaf).gather(1, target[:, None]).sum(), leaf)
    return (gradient * maps).sum((2, 3))


def _replaced(head: Head, maps: Tensor, by: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the logits [K, N, classes] where each map in turn is ``by(map)``."""
    eye = torch.eye(maps.shape[1])[..., None, None]
    return torch.stack([head(torch.where(row > 0, by(maps), maps)) for row in eye])


@checker
def check_ablation_weights(function: Callable[[Head, Tensor, Tensor], Tensor]) -> str:
    """Check ``function(head, maps [N, K, h, w], target [N]) -> [N, K]`` on a random head and random maps."""
    head, target = _head(), torch.tensor([3, 0, 2])
    maps = torch.rand(3, 5, 3, 4, generator=torch.Generator().manual_seed(9))
    eye, rows = torch.eye(5), torch.arange(3)
    whole, removed, alone = head(maps), _without(head, maps, 1 - eye), _without(head, maps, eye)

    def weights(logits: Tensor, classes: Tensor) -> Tensor:
        before = whole[rows, classes]
        return ((before - logits[:, rows, classes]) / before).T

    right = weights(removed, target)
    before, after = whole[rows, target, None], removed[:, rows, target].T
    shares, shares_after = whole.softmax(1)[rows, target, None], removed.softmax(2)[:, rows, target].T
    mistakes = {
        "you kept map k and removed the others; remove map k and keep the others.": weights(alone, target),
        "you set negative weights to zero; keep them, since some maps speak against the class.": right.relu(),
        "you took absolute values; keep the sign of each weight.": right.abs(),
        "this is the gradient's prediction, the sum of gradient times map, divided by the score; remove each map and "
        "run the head.": lambda: _predicted(head, maps, target) / before,
        "you took the sum of gradient times map; remove each map, run the head, and divide by the score.": lambda: (
            _predicted(head, maps, target)
        ),
        "the weights are scaled to add up to one; divide by the score instead.": right / right.sum(1, keepdim=True),
        "you divided by the size of the largest weight; divide by the score.": right
        / right.abs().amax(1, keepdim=True),
        "the sign is turned: a map whose removal lowers the score speaks for the class, and gets a plus.": -right,
        "you did not divide by the score; the weight is the share of it that is lost.": before - after,
        "you divided by the score without map k; divide by the whole score.": (before - after) / after,
        "this is the share that is left; the weight is the share that is lost.": after / before,
        "each picture is asked about its own target; you asked for its top class.": weights(removed, whole.argmax(1)),
        "all pictures were asked about the class of the first; each has its own.": weights(
            removed, target[:1].expand(3)
        ),
        "you used probabilities; the score is the logit.": (shares - shares_after) / shares,
        "the maps you removed stay removed: start each time from all maps.": weights(
            _without(head, maps, 1 - eye.cumsum(0).clamp(max=1)), target
        ),
        "you set map k to 1; set it to zero.": lambda: weights(
            _replaced(head, maps, lambda m: torch.ones_like(m)), target
        ),
        "you turned the sign of map k; set it to zero.": lambda: weights(_replaced(head, maps, torch.neg), target),
        "map k is subtracted from all maps; set it alone to zero.": lambda: weights(
            torch.stack([head(maps - maps[:, k : k + 1]) for k in range(5)]), target
        ),
        "you halved map k; set it to zero.": lambda: weights(_replaced(head, maps, lambda m: m / 2), target),
        "the score is the sum of all logits; take that of the class asked for.": lambda: (
            ((whole.sum(1) - removed.sum(2)) / whole.sum(1)).T
        ),
        "the score is the loss; take the logit of the class asked for.": lambda: (
            1 - removed.log_softmax(2)[:, rows, target].T / whole.log_softmax(1)[rows, target, None]
        ),
        "the loss of score is divided by the sum of both scores; divide by the whole score.": (before - after)
        / (before + after),
        "this is the logarithm of the quotient; take the share that is lost.": (before / after).log(),
        "you set map k to its mean over places; set it to zero.": lambda: weights(
            torch.stack([head(torch.lerp(maps, maps.mean((2, 3), keepdim=True), row[:, None, None])) for row in eye]),
            target,
        ),
    }

    def by_removal(head: Head, maps: Tensor, target: Tensor) -> Tensor:
        return 1 - _without(head, maps, 1 - eye)[:, rows, target].T / head(maps)[rows, target, None]

    got = ask(function, head, maps.clone(), target)
    name_the_mistake(got, mistakes, right, what="the weights", by=by_removal)
    one = ask(function, head, maps[:1].clone(), target[:1])
    name_the_mistake(one, {}, right[:1], what="the weights of a batch of one picture")
    return f"{right.numel()} weights agree; {(right < 0).sum()} of them are negative, as some maps speak against."


def _iterated(maps: Tensor, steps: int, *, centred: bool = False, unit: bool = True) -> tuple[Tensor, Tensor]:
    """Return the vectors [N, K] of the power iteration and their maps [N, h, w]."""
    rows = maps.flatten(2)
    if centred:
        rows = rows - rows.mean(2, keepdim=True)
    v = torch.ones(rows.shape[:2]).to(rows)
    for _ in range(steps):
        v = einsum("nkp,np->nk", rows, einsum("nkp,nk->np", rows, v))
        if unit:
            v = v / v.norm(dim=1, keepdim=True)
    return v, einsum("nkp,nk->np", rows, v).unflatten(1, maps.shape[2:])


@checker
def check_power_iteration(function: Callable[[Tensor, int], Tensor]) -> str:
    """Check ``function(maps [N, K, h, w], steps) -> [N, h, w]`` on random maps, after 2, 1 and 0 steps."""
    maps = torch.rand(3, 5, 3, 4, generator=torch.Generator().manual_seed(9)).square()
    v, right = _iterated(maps, 2)
    _, strengths, patterns = torch.linalg.svd(maps.flatten(2), full_matrices=False)
    first = (strengths[:, :1] * patterns[:, 0]).abs().unflatten(1, (3, 4))
    together = maps.transpose(0, 1).flatten(1)[None]  # one vector for the whole batch

    def _by(length: Callable[[Tensor], Tensor], start: Tensor | None = None) -> Tensor:
        rows, v = maps.flatten(2), torch.ones(maps.shape[:2]) if start is None else start
        for _ in range(2):
            v = einsum("nkp,np->nk", rows, einsum("nkp,nk->np", rows, v))
            v = v / length(v)
        return einsum("nkp,nk->np", rows, v).unflatten(1, maps.shape[2:])

    shared = einsum("k,nkij->nij", _iterated(together[..., None], 2)[0][0], maps)
    mistakes = {
        "this is the limit, the first singular vector; return what you have after `steps` steps.": first,
        "you returned the sum of all maps, so no step was taken.": maps.sum(1),
        "you took one step more than `steps`.": _iterated(maps, 3)[1],
        "you took one step less than `steps`.": _iterated(maps, 1)[1],
        "you did not divide v by its length.": _iterated(maps, 2, unit=False)[1],
        "you subtracted the mean of each map; this is the centred version.": _iterated(maps, 2, centred=True)[1],
        "the map has length one; divide v by its length, and not the map.": right
        / right.flatten(1).norm(dim=1)[:, None, None],
        "you returned v, one number for each map; return the weighted sum of the maps.": v,
        "all pictures share one v; each picture has its own.": shared,
        "you averaged over the maps; add them up.": right / maps.shape[1],
        "v is divided by its largest value; divide it by its length.": lambda: _by(lambda v: v.amax(1, True)),
        "v is divided by its sum; divide it by its length.": lambda: _by(lambda v: v.sum(1, True)),
        "v is divided by its squared length; divide it by its length.": lambda: _by(
            lambda v: v.norm(dim=1, keepdim=True) ** 2
        ),
        "you start with the first map alone; start with ones.": lambda: _by(
            lambda v: v.norm(dim=1, keepdim=True), start=torch.eye(5)[:1].expand(3, 5)
        ),
        "one mean is subtracted from all maps of a picture; take the maps as they are.": _iterated(
            maps - maps.mean((1, 2, 3), keepdim=True), 2
        )[1],
        "you took twice as many steps.": _iterated(maps, 4)[1],
        "the sign is turned: start with ones, and all values stay positive.": -right,
        "you divided by the length over the whole batch; each picture's v has its own.": lambda: _by_batch(maps, 2),
    }
    name_the_mistake(
        ask(function, maps.clone(), 2),
        mistakes,
        right,
        what="the maps after 2 steps",
        by=lambda maps, steps: _iterated(maps, steps)[1],
    )
    for steps in (1, 0):
        got, word = ask(function, maps.clone(), steps), "step" if steps == 1 else "steps"
        ignored = {"your function ignores `steps`.": right}
        if steps == 0:
            ignored["at least one step is taken; without steps v is (1, ..., 1)."] = _iterated(maps, 1)[1]
            ignored["v begins with length one; it is (1, ..., 1)."] = maps.sum(1) / maps.shape[1] ** 0.5
        name_the_mistake(got, ignored, _iterated(maps, steps)[1], what=f"the maps after {steps} {word}")
    name_the_mistake(ask(function, maps[:1].clone(), 2), {}, right[:1], what="the map of a single picture")
    return "the maps after 0, 1 and 2 steps agree, and none has a negative value."


def _by_batch(maps: Tensor, steps: int) -> Tensor:
    rows = maps.flatten(2)
    v = torch.ones(rows.shape[:2]).to(rows)
    for _ in range(steps):
        v = einsum("nkp,np->nk", rows, einsum("nkp,nk->np", rows, v))
        v = v / v.norm()
    return einsum("nkp,nk->np", rows, v).unflatten(1, maps.shape[2:])
