"""The least each method can cost, in a few lines: the passes that nobody can leave out, as fast as torch does them.

Frozen parameters, no hooks, no checks, no result; pictures in the ordinary memory layout or channels last, and for the
methods that only run forwards BatchNorm folded or not: whichever is fastest in a short trial.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, autograd, nn
from torch.fx.experimental.optimization import fuse

from tools.bench.clock import quickest
from tools.bench.subjects import Subject, borrowed, halves, last_linear

TRIAL = 8  # rows of the trial
Call = Callable[[], None]


class Way(NamedTuple):
    """How the passes are made."""

    folded: bool
    layout: torch.memory_format

    def net(self, part: nn.Module) -> nn.Module:
        return fuse(part).requires_grad_(False) if self.folded else part

    def pictures(self, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=self.layout)


def fastest(make: Callable[[Way, int], Call], rows: int, may_fold: bool = False) -> Call:
    """Return ``make(way, rows)`` for the way that is fastest with a few rows."""
    layouts = (torch.contiguous_format, torch.channels_last)
    ways = {str(way): way for way in [Way(fold, layout) for fold in {False, may_fold} for layout in layouts]}
    return make(ways[quickest({name: make(way, min(rows, TRIAL)) for name, way in ways.items()})], rows)


def chunk(x: Tensor) -> int:
    """Return how many rows like those of ``x`` go through the net at once: few large ones, a hundred small."""
    return max(1, min(100, 3_000_000 // x[0].numel()))


def forward(s: Subject) -> Call:
    """One forward pass of the net as it is: the unit of cost."""
    model = borrowed(s.model)

    @torch.no_grad()
    def call() -> None:
        model(s.x)

    return call


# --- many passes of the whole net ---


def forwards(count: Callable[[Subject], int]) -> Callable[[Subject], Call]:
    """``count(s)`` forward passes for each picture."""

    def once(model: nn.Module, x: Tensor, _: Tensor) -> None:
        with torch.inference_mode():
            model(x)

    def build(s: Subject) -> Call:
        has_norms = any(isinstance(module, nn.BatchNorm2d) for module in s.model.modules())
        return fastest(many(s, once), count(s) * len(s.x), may_fold=has_norms)

    return build


def gradients(count: Callable[[Subject], int]) -> Callable[[Subject], Call]:
    """``count(s)`` forward and backward passes to the picture, for each picture."""

    def once(model: nn.Module, x: Tensor, classes: Tensor) -> None:
        x.requires_grad_()
        autograd.grad(model(x).gather(1, classes).sum(), x)

    return lambda s: fastest(many(s, once), count(s) * len(s.x))


def many(s: Subject, once: Callable[[nn.Module, Tensor, Tensor], None]) -> Callable[[Way, int], Call]:
    def make(way: Way, rows: int) -> Call:
        model = way.net(borrowed(s.model, frozen=True))

        def call() -> None:
            for numbers in torch.arange(rows).split(chunk(s.x)):
                chosen = numbers % len(s.x)
                once(model, way.pictures(s.x[chosen]), s.target[chosen, None])

        return call

    return make


# --- a forward pass to the layer, and what follows ---


def trunk_and_head(s: Subject, way: Way) -> tuple[nn.Module, nn.Module]:
    trunk, head = halves(borrowed(s.model, frozen=True))
    return way.net(trunk), head


def layer_gradient(s: Subject) -> Call:
    """The layers before without gradient, then the head with one: Grad-CAM, and all its relatives."""

    def make(way: Way, _: int) -> Call:
        trunk, head = trunk_and_head(s, way)

        def call() -> None:
            with torch.no_grad():
                maps = trunk(way.pictures(s.x))
            maps.requires_grad_()
            (gradient,) = autograd.grad(head(maps)[s.rows, s.target].sum(), maps)
            torch.einsum("nk,nkij->nij", gradient.mean((2, 3)), maps.detach())

        return call

    return fastest(make, 1)


def ablated_heads(s: Subject) -> Call:
    """The layers before once, then the head once for each map; for an average and a linear layer a sum is enough."""
    linear = last_linear(s.model)

    def make(way: Way, heads: int) -> Call:
        trunk, head = trunk_and_head(s, way)

        @torch.inference_mode()
        def call() -> None:
            maps = trunk(way.pictures(s.x))
            head(maps)
            if linear is not None:
                torch.einsum("nk,nk->nk", linear.weight[s.target], maps.mean((2, 3)))
                return
            for numbers in torch.arange(heads).split(chunk(maps)):
                head(maps[numbers % len(maps)])

        return call

    with torch.no_grad():
        count = halves(s.model)[0](s.x).shape[1]
    return fastest(make, count * len(s.x))


def principal_map(s: Subject) -> Call:
    """The layers up to the maps, and the eigenvectors of their smaller Gram matrix."""

    def make(way: Way, _: int) -> Call:
        trunk, _ = trunk_and_head(s, way)

        @torch.inference_mode()
        def call() -> None:
            maps = trunk(way.pictures(s.x)).flatten(2)
            torch.linalg.eigh(maps @ maps.mT if maps.shape[1] < maps.shape[2] else maps.mT @ maps)

        return call

    return fastest(make, 1)


def masks(s: Subject) -> int:
    """How many maps of Score-CAM's layer are not constant, a picture: each needs a pass of its own, the others none."""
    maps = []
    model = borrowed(s.model, frozen=True)
    model.get_submodule(s.score_layer).register_forward_hook(lambda module, inputs, output: maps.append(output.clone()))
    model(s.x)
    varies = maps[0].flatten(2).amax(2) > maps[0].flatten(2).amin(2)
    return -(-int(varies.sum()) // len(s.x))
