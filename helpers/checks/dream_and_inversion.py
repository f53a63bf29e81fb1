"""Checkers of lesson *dream_and_inversion*: total variation over height and width, and the guided dream's objective."""

from collections.abc import Callable

import torch
from torch import Tensor

from helpers.checks.core import Wrong, ask, checker, name_the_mistake


@checker
def check_total_variation(function: Callable[[Tensor], Tensor]) -> str:
    """Check ``function(x [N, C, H, W]) -> [N]``, the mean of down^2 + right^2 where a pixel has both neighbours."""
    random = torch.Generator().manual_seed(12)
    x = torch.rand(7, 2, 5, 6, generator=random, dtype=torch.float64)
    below, beside = x.diff(dim=2), x.diff(dim=3)
    down, right = below[..., :-1], beside[:, :, :-1]
    both = down.square() + right.square()
    pixels = (1, 2, 3)
    expected = both.mean(pixels)

    def by_squares(x: Tensor) -> Tensor:
        down, right = x[:, :, 1:, :-1], x[:, :, :-1, 1:]
        squares = [(beside - x[:, :, :-1, :-1]).square() for beside in (down, right)]
        return (squares[0] + squares[1]).mean(pixels)

    def turned() -> Tensor:
        """Differences over colours and height, of what was meant for a picture without a batch."""
        return (x.diff(dim=1)[:, :, :-1].square() + x.diff(dim=2)[:, :-1].square()).mean(pixels)

    mistakes = {
        "you compare colours and rows: in [N, C, H, W] height is dimension 2 and width dimension 3.": turned,
        "you compare colours and rows, each wherever it exists; height is dimension 2 and width dimension 3.": lambda: (
            x.diff(dim=1).square().mean(pixels) + below.square().mean(pixels)
        ),
        "you compare colours with each other too; only height and width count.": lambda: (
            expected + x.diff(dim=1).square().mean(pixels)
        ),
        "the differences to the right are missing, so vertical stripes cost nothing.": lambda: down.square().mean(
            pixels
        ),
        "the differences down are missing, so horizontal stripes cost nothing.": lambda: right.square().mean(pixels),
        "these are sums over the pixels; take the mean, so that large pictures cost no more than small ones.": lambda: (
            both.sum(pixels)
        ),
        "these are absolute values; take squares.": lambda: (down.abs() + right.abs()).mean(pixels),
        "you took the root of each pixel's sum of squares; leave it out.": lambda: both.sqrt().mean(pixels),
        "you squared the sum of the two differences; add up their squares, so that they cannot cancel.": lambda: (
            (down + right).square().mean(pixels)
        ),
        "the signs are still there, so that ups and downs cancel; take squares.": lambda: (down + right).mean(pixels),
        "this is half of it: add the squares of down and right, and take the mean over the pixels.": expected / 2,
        "this is the largest of all; take the mean over the pixels.": lambda: both.amax(pixels),
        "the largest colour counts here; take the mean over them.": lambda: both.mean((2, 3)).amax(1),
        "this is the root of the sum; take the mean of the squares.": lambda: both.sum(pixels).sqrt(),
        "you compare the neighbour below with that on the right; compare each with the pixel itself.": lambda: (
            (x[:, :, 1:, :-1] - x[:, :, :-1, 1:]).square().mean(pixels)
        ),
        "the squares down count twice, and those to the right are missing.": lambda: 2 * down.square().mean(pixels),
        "the squares to the right count twice, and those down are missing.": lambda: 2 * right.square().mean(pixels),
        "this is the spread of the squares; take their mean.": lambda: both.var(pixels),
        "this is the median of the squares; take their mean.": lambda: both.flatten(1).median(1).values,
        "this is the product of the two differences; add up their squares.": lambda: (down * right).abs().mean(pixels),
        "this is the larger of the two squares; add them up.": lambda: torch.maximum(
            down.square(), right.square()
        ).mean(pixels),
        "you compare each pixel with its neighbour on the diagonal; take those below and on the right.": lambda: (
            (x[:, :, 1:, 1:] - x[:, :, :-1, :-1]).square().mean(pixels)
        ),
        "you compare pixels two apart; take the next neighbours.": lambda: (
            (x[:, :, 2:, :-2] - x[:, :, :-2, :-2]).square() + (x[:, :, :-2, 2:] - x[:, :, :-2, :-2]).square()
        ).mean(pixels),
        "the colours are averaged before they are compared, so that they cancel; compare each colour.": lambda: (
            x.mean(1).diff(dim=1)[:, :, :-1].square() + x.mean(1).diff(dim=2)[:, :-1].square()
        ).mean((1, 2)),
        "the sum of squares is raised to another power; take it as it is.": lambda: (both**1.25).mean(pixels),
        "the missing differences at the edge count as zero; leave those pixels out.": lambda: (
            torch.nn.functional.pad(below, (0, 0, 0, 1)).square() + torch.nn.functional.pad(beside, (0, 1)).square()
        ).mean(pixels),
        "you divide by all pixels; divide by those that have both neighbours.": lambda: both.sum(pixels) / x[0].numel(),
        "each difference is taken wherever it exists; take only the pixels that have both neighbours.": lambda: (
            below.square().mean(pixels) + beside.square().mean(pixels)
        ),
        "roll() brings the last row beside the first, which are no neighbours.": lambda: (
            (x.roll(-1, 2) - x).square() + (x.roll(-1, 3) - x).square()
        ).mean(pixels),
        "you compare each pixel with those above and on the left; take those below and on the right.": lambda: (
            below[..., 1:].square() + beside[:, :, 1:].square()
        ).mean(pixels),
        "the colours are added up; take the mean over them.": lambda: both.mean((2, 3)).sum(1),
        "the sign is wrong: squares are positive.": lambda: -expected,
        "the pictures are mixed: there is one number for each picture, [N].": lambda: both.mean(),
        "there is one number for each colour; take the mean over the colours too.": lambda: both.mean((2, 3)),
    }
    name_the_mistake(ask(function, x.clone()), mistakes, expected, what="the total variation", by=by_squares)
    stripes = (torch.arange(8.0) % 2).expand(1, 3, 8, 8)
    name_the_mistake(ask(function, stripes.clone()), {}, torch.ones(1), what="the total variation of stripes")
    return "vertical stripes, one pixel wide, have a total variation of 1."


@checker
def check_guided(function: Callable[[Tensor, Tensor], Tensor]) -> str:
    """Check ``function(maps [N, K, h, w], guide [K, m]) -> [N]``, the mean over places of the best inner product."""
    random = torch.Generator().manual_seed(13)
    maps = torch.rand(3, 4, 5, 6, generator=random, dtype=torch.float64)
    guide = 2 * torch.rand(4, 7, generator=random, dtype=torch.float64)
    products = torch.einsum("nkij,km->nijm", maps, guide)
    expected = products.amax(3).mean((1, 2))

    def nearest() -> Tensor:
        codes = maps.permute(0, 2, 3, 1)
        chosen = torch.cdist(codes.flatten(0, 2), guide.T).argmin(1)
        return (codes.flatten(0, 2) * guide.T[chosen]).sum(1).view(products.shape[:3]).mean((1, 2))

    def cosines() -> Tensor:
        return products / maps.norm(dim=1)[..., None] / guide.norm(dim=0)

    mistakes = {
        "you take the mean over the guide's codes; each place shall choose the one that suits it best.": lambda: (
            products.mean((1, 2, 3))
        ),
        "you add up over the guide's codes; each place shall choose the one that suits it best.": lambda: products.sum(
            3
        ).mean((1, 2)),
        "here each code of the guide chooses a place; each place shall choose a code.": lambda: products.amax(
            (1, 2)
        ).mean(1),
        "only the best place of each picture counts here; take the mean over all places.": lambda: products.amax(
            (1, 2, 3)
        ),
        "these are sums over the places; take their mean.": lambda: products.amax(3).sum((1, 2)),
        "these are cosines; take the inner products, so that stronger maps score more.": lambda: (
            cosines().amax(3).mean((1, 2))
        ),
        "you choose by the cosine; choose the largest inner product.": lambda: products.gather(
            3, cosines().argmax(3, keepdim=True)
        ).mean((1, 2, 3)),
        "you choose the nearest code; choose the one with the largest inner product.": nearest,
        "the guide's codes are scaled to length one; take them as they are.": lambda: (
            (products / guide.norm(dim=0)).amax(3).mean((1, 2))
        ),
        "the codes of the maps are scaled to length one; take them as they are.": lambda: (
            (products / maps.norm(dim=1)[..., None]).amax(3).mean((1, 2))
        ),
        "you take the median over the guide's codes; take the largest product.": lambda: products.median(3).values.mean(
            (1, 2)
        ),
        "you take a softmax over the guide's codes; take the largest product.": lambda: (
            (products.softmax(3) * products).sum(3).mean((1, 2))
        ),
        "you take logsumexp over the guide's codes; take the largest product.": lambda: products.logsumexp(3).mean(
            (1, 2)
        ),
        "these are the numbers of the codes chosen (argmax); take the products (amax).": lambda: (
            products.argmax(3).double().mean((1, 2))
        ),
        "only the guide's first code is used; each place chooses among all.": lambda: products[..., 0].mean((1, 2)),
        "the largest value of each channel is taken over the guide; a code is a whole column.": lambda: torch.einsum(
            "nkij,k->nij", maps, guide.amax(1)
        ).mean((1, 2)),
        "the guide's codes are averaged first; each place chooses among all.": lambda: torch.einsum(
            "nkij,k->nij", maps, guide.mean(1)
        ).mean((1, 2)),
        "the two largest products count; take the largest.": lambda: products.topk(2, 3).values.mean((1, 2, 3)),
        "these are squared distances with a minus; take inner products.": lambda: (
            -(torch.cdist(maps.permute(0, 2, 3, 1).flatten(1, 2), guide.T) ** 2).amin(2).mean(1)
        ),
        "the largest value of each channel came before the product; each place chooses for itself.": lambda: (
            maps.amax((2, 3)) @ guide
        ).amax(1),
        "this is the spread over the places; take the mean.": lambda: products.amax(3).std((1, 2)),
        "these are distances with a minus; take inner products.": lambda: (
            -torch.cdist(maps.permute(0, 2, 3, 1).flatten(1, 2), guide.T).amin(2).mean(1)
        ),
        "you choose the smallest product; take the largest.": lambda: products.amin(3).mean((1, 2)),
        "the mean over the places came before the choice; each place chooses for itself.": lambda: (
            maps.mean((2, 3)) @ guide
        ).amax(1),
        "reshape() does not move the channels last, it mixes them with the places: use permute or einsum.": lambda: (
            (maps.reshape(3, 30, 4) @ guide).amax(2).mean(1)
        ),
        "the products are divided by the number of channels; an inner product is a sum over them.": expected / 4,
        "you squared the products; take them as they are.": lambda: products.square().amax(3).mean((1, 2)),
        "the sign is wrong: the dream shall raise the products.": lambda: -expected,
        "the pictures are mixed: there is one number for each picture, [N].": lambda: expected.mean(),
    }
    got = ask(function, maps.clone(), guide.clone())
    name_the_mistake(
        got,
        mistakes,
        expected,
        what="the score",
        by=lambda maps, guide: torch.einsum("nkij,km->nijm", maps, guide).amax(3).mean((1, 2)),
    )
    below_zero = -products.amin(3).mean((1, 2))  # of the negative guide: every product is below zero
    usual = {
        "negative products count too: leave out the ReLU.": torch.zeros_like(expected),
        "you take absolute values; a negative product is a bad match.": lambda: expected,
    }
    name_the_mistake(ask(function, maps.clone(), -guide), usual, below_zero, what="the score of negative products")
    signed = maps - 0.5
    right = torch.einsum("nkij,km->nijm", signed, guide - 1).amax(3).mean((1, 2))
    name_the_mistake(ask(function, signed.clone(), guide - 1), {}, right, what="the score of maps with both signs")
    with torch.enable_grad():
        asked = maps.clone().requires_grad_()
        scores = ask(function, asked, guide)
        if not isinstance(scores, Tensor) or not scores.requires_grad:
            raise Wrong("the score is right, but has no gradient: stay with torch, and leave out detach() and numpy().")
    return f"{products[0, ..., 0].numel()} places of each picture choose among {guide.shape[1]} codes."
