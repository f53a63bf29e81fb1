"""Checkers of lesson *relevance*: the alpha-beta rule of LRP for one layer, and the rule for a sum of two branches."""

from collections.abc import Callable

import torch
from torch import Tensor, einsum

from helpers.checks.core import Wrong, ask, checker, name_the_mistake


def _layer() -> tuple[Tensor, Tensor, Tensor]:
    """Return activations [4, 6] of both signs, weights [6, 5] and relevance [4, 5].

    Unit 0 gets only positive contributions in pictures 0 and 3, none in picture 1 and only negative ones in picture 2.
    """
    random = torch.Generator().manual_seed(10)
    a, w, relevance = (torch.randn(shape, generator=random) for shape in ((4, 6), (6, 5), (4, 5)))
    w[:3, 0], w[3:, 0] = w[:3, 0].abs(), 0
    a[:, :3] = a[:, :3].abs() * torch.tensor([1.0, 0, -1, 1])[:, None]
    relevance[1, 0] = 0
    return a, w, relevance


def _shares(m: Tensor, axis: int = 1) -> tuple[Tensor, Tensor]:
    """Return the shares of the positive and of the negative contributions [N, J, K], each kind by itself."""
    up, down = m.clamp(min=0), (-m).clamp(min=0)
    return up / (up.sum(axis, keepdim=True) + 1e-12), down / (down.sum(axis, keepdim=True) + 1e-12)


@checker
def check_alpha_beta(function: Callable[[Tensor, Tensor, Tensor, float], Tensor]) -> str:
    """Check ``function(a [N, J], w [J, K], R [N, K], alpha) -> [N, J]`` on random tensors, for alpha 2, 3 and 1."""
    a, w, relevance = (t.double() for t in _layer())
    m = a[:, :, None] * w
    total = m.sum(1, keepdim=True) + 1e-12
    of_weights = [a[:, :, None] * part / (a @ part + 1e-12)[:, None] for part in (w.clamp(min=0), w.clamp(max=0))]

    def by_signs(a: Tensor, w: Tensor, relevance: Tensor, alpha: float) -> Tensor:
        up, down = _shares(a[:, :, None] * w)
        return einsum("njk,nk->nj", alpha * up - (alpha - 1) * down, relevance)

    for alpha in (2.0, 3.0, 1.0):

        def relevance_of(up: Tensor, down: Tensor, beta: float = alpha - 1, alpha: float = alpha) -> Tensor:
            return einsum("njk,nk->nj", alpha * up - beta * down, relevance)

        up, down = _shares(m)
        raised, lowered = m.clamp(min=0), m.clamp(max=0)
        whole = "both kinds were divided by the whole sum z; divide each kind by its own sum."
        sizes = "both kinds were divided by the sum of all sizes |a w|; divide each kind by its own sum."
        size = m.abs().sum(1, keepdim=True) + 1e-12
        mistakes = {
            "positive and negative contributions were swapped: the positive ones get alpha times R.": relevance_of(
                down, up
            ),
            "the negative contributions must get 1 - alpha times R, which is negative; you added it.": relevance_of(
                up, -down
            ),
            "the negative contributions get 1 - alpha times R; your two factors do not add up to 1.": relevance_of(
                up, down, alpha
            ),
            "only the positive contributions got relevance; the negative ones get 1 - alpha times R.": relevance_of(
                up, down, 0
            ),
            "this is right for alpha 2 alone; beta is alpha - 1.": relevance_of(up, down, 1),
            "you normalised over the outputs k; the contributions to one output k share its R.": relevance_of(
                *_shares(m, 2)
            ),
            "you split the weights by sign; split the products a * w, because a has both signs.": relevance_of(
                *of_weights
            ),
            "you left out the negative activations; with a negative weight they raise the sum.": relevance_of(
                *_shares(a.clamp(min=0)[:, :, None] * w)
            ),
            whole: relevance_of(raised / total, -lowered / total),
            whole + " ": relevance_of(raised / total, lowered / total),
            sizes: relevance_of(raised / size, -lowered / size),
            sizes + " ": relevance_of(raised / size, lowered / size),
            "the negative contributions get 1 + alpha times R; they get 1 - alpha.": relevance_of(up, down, -1 - alpha),
            "negative relevance is cut off; R keeps its sign.": einsum(
                "njk,nk->nj", alpha * up - (alpha - 1) * down, relevance.relu()
            ),
            "the result is multiplied by the activations once more; they are in the contributions already.": (
                a * relevance_of(up, down)
            ),
            "the result is multiplied by R's sum, not shared by output; multiply each output's shares by its R.": (
                (alpha * up - (alpha - 1) * down).sum(2) * relevance.sum(1, keepdim=True)
            ),
            "the negative contributions get half of alpha; they get 1 - alpha times R.": relevance_of(
                up, down, alpha / 2
            ),
            "the activations have lost their signs.": relevance_of(*_shares(a.abs()[:, :, None] * w)),
            "a large number is added under the fraction; one like 1e-9 prevents NaN and changes nothing.": relevance_of(
                raised / (raised.sum(1, keepdim=True) + 0.1), -lowered / ((-lowered).sum(1, keepdim=True) + 0.1)
            ),
            "the absolute value of R is taken; it keeps its sign.": einsum(
                "njk,nk->nj", alpha * up - (alpha - 1) * down, relevance.abs()
            ),
            "this is LRP-0, which treats all contributions alike; split them by sign.": relevance_of(
                m / total, m, 0, 1
            ),
        }
        got = ask(function, a.float(), w.float(), relevance.float(), alpha)
        if isinstance(got, Tensor) and got.isnan().any():
            raise Wrong("there is a NaN: a unit has no contribution of one sign, so that 0 was divided by 0.")
        name_the_mistake(
            got, mistakes, relevance_of(up, down), what=f"the relevance for alpha = {alpha:g}", by=by_signs
        )
    return "for alpha 1, 2 and 3, with activations of both signs, and nothing is divided by zero."


@checker
def check_share_sum(function: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]) -> str:
    """Check ``function(s, f, R) -> (relevance of s, relevance of f)`` on random maps [2, 3, 4, 4]."""
    random = torch.Generator().manual_seed(11)
    s, f, relevance = torch.randn(3, 2, 3, 4, 4, generator=random)
    f = torch.where((s + f).abs() < 0.2, f + torch.where(s + f < 0, -0.4, 0.4), f)  # no sum is nearly zero ...
    for t in (s, f, relevance):
        t[0, 0] = 0  # ... but some are zero, as after a ReLU
    z = torch.where(s + f == 0, 1.0, s + f)
    size = torch.where(s + f == 0, 1.0, s.abs() + f.abs())
    right = torch.stack([s * relevance / z, f * relevance / z])
    mistakes = {
        "each branch got all of the relevance, which doubles it, as in captum.": torch.stack([relevance, relevance]),
        "each branch got half, whatever it added; divide R in proportion.": torch.stack([relevance, relevance]) / 2,
        "the shortcut got everything; f added its part as well.": torch.stack([relevance, 0 * relevance]),
        "the branch f got everything; the shortcut added its part as well.": torch.stack([0 * relevance, relevance]),
        "the two results are swapped: first that of s, then that of f.": right.flip(0),
        "you shared by size, |s| and |f|; a part of the other sign gets a share of the other sign.": torch.stack(
            [s.abs() * relevance / size, f.abs() * relevance / size]
        ),
        "you have the shares s / (s + f) and f / (s + f); multiply them by R.": torch.stack([s / z, f / z]),
        "the relevance is summed before it is shared; share it at each place.": torch.stack(
            [s * relevance.sum() / (s + f).sum(), f * relevance.sum() / (s + f).sum()]
        ),
        "you divide by |s + f|; the sum keeps its sign.": torch.stack([s, f]) * relevance / z.abs(),
        "you divide by |s| + |f|; divide by the sum s + f.": torch.stack([s, f]) * relevance / size,
        "you divide by the difference s - f; the block has added them.": lambda: (
            torch.stack([s, f]) * relevance / torch.where(s == f, 1.0, s - f)
        ),
        "you share by the squares; share by s and f themselves.": torch.stack([s**2, f**2])
        * relevance
        / (s**2 + f**2).clamp(min=1e-12),
        "negative parts are cut off; they get a share of the other sign.": lambda: (
            torch.stack([s.relu(), f.relu()]) * relevance / (s.relu() + f.relu()).clamp(min=1e-12)
        ),
        "the larger branch takes all; divide R in proportion.": lambda: torch.stack(
            [torch.where(s > f, relevance, 0.0), torch.where(s > f, 0.0, relevance)]
        ),
        "R is multiplied by sigmoids; divide by the sum.": torch.stack([s.sigmoid(), f.sigmoid()]) * relevance,
        "you multiply by the sum; divide by it.": torch.stack([s, f]) * relevance * z,
        "the divisor is cut off at a small positive number, and sums may be negative; replace zeros only.": lambda: (
            torch.stack([s, f]) * relevance / (s + f).clamp(min=1e-6)
        ),
        "you subtract the branches from R; divide R in proportion.": torch.stack([relevance - s, relevance - f]),
        "the divisor is one number for all places; divide at each place by its own sum.": lambda: (
            torch.stack([s, f]) * relevance / (s + f).abs().max()
        ),
        "R is shared by a softmax; divide by the sum.": torch.stack([s, f]).softmax(0) * relevance,
        "the second result is R plus that of s; it is the rest, R minus that of s.": torch.stack(
            [s * relevance / z, relevance + s * relevance / z]
        ),
        "you multiplied by R and never divided by the sum.": torch.stack([s * relevance, f * relevance]),
    }
    got = ask(function, s.clone(), f.clone(), relevance.clone())
    if not isinstance(got, tuple | list) or len(got) != 2 or not all(isinstance(t, Tensor) for t in got):
        raise Wrong("two tensors are asked for: return the relevance of s, then that of f, with a comma between.")
    if any(t.shape != s.shape for t in got):
        raise Wrong(f"both results must have the shape of R, {list(s.shape)}, not {[list(t.shape) for t in got]}.")
    if any(t.isnan().any() for t in got):
        raise Wrong("there is a NaN where both branches are zero: 0 was divided by 0. Return 0 there.")
    name_the_mistake(
        torch.stack(list(got)),
        mistakes,
        right,
        what="the relevance",
        by=lambda s, f, R: torch.stack([s, f]) * R / torch.where(s + f == 0, 1.0, s + f),
    )
    kept = (got[0] + got[1] - relevance).abs().max().item()
    return f"the two parts add up to R, to {kept:.0e}."
