"""Checkers of lesson *gradient_free_cams*: pictures turned by half a turn, and the weights of Ablation-CAM."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from helpers.checks.core import Wrong, ask, checker, name_the_mistake

Head = Callable[[Tensor], Tensor]


@checker
def check_half_turn(function: Callable[[Tensor], Tensor]) -> str:
    """Check ``function(pictures [N, C, H, W]) -> [N, C, H, W]`` on random pictures that are not square."""
    pictures = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    mistakes = {
        "nothing has changed.": pictures,
        "this is mirrored, left for right; the rows stay where they were.": pictures.flip(3),
        "this is upside down; the columns stay where they were.": pictures.flip(2),
        "this is a quarter of a turn.": lambda: pictures.rot90(1, (2, 3)),
        "rows and columns have changed places.": lambda: pictures.transpose(2, 3),
        "the colours are turned, too; leave the channels in their order.": pictures.flip(1, 2, 3),
        "the batch is turned, too; leave the pictures in their order.": pictures.flip(0, 2, 3),
    }
    given = pictures.clone()
    name_the_mistake(ask(function, given), mistakes, pictures.flip(2, 3), what="the turned batch")
    if not torch.equal(given, pictures):
        raise Wrong("the values are right, but the pictures that you were given have changed; return new ones.")
    return "half a turn, for pictures of any shape."


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
        "you set map k to its mean over places; set it to zero.": lambda: weights(
            torch.stack([head(torch.lerp(maps, maps.mean((2, 3), keepdim=True), row[:, None, None])) for row in eye]),
            target,
        ),
    }
    given = maps.clone()
    name_the_mistake(ask(function, head, given, target), mistakes, right, what="the weights")
    if not torch.equal(given, maps):
        raise Wrong("your function writes into the maps that it was given; work on a copy.")
    one = ask(function, head, maps[:1].clone(), target[:1])
    name_the_mistake(one, {}, right[:1], what="the weights of a batch of one picture")
    return f"{right.numel()} weights agree; {(right < 0).sum()} of them are negative, as some maps speak against."
