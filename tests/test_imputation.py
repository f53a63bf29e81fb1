"""Pixels filled in from their neighbours: the equations, ROAD's curves, and what cannot be filled."""

import pytest
import torch
from torch import nn

from helpers import evaluation


@pytest.fixture
def ramp():
    down, right = torch.meshgrid(torch.arange(12.0), torch.arange(15.0), indexing="ij")
    return torch.stack([down, right, 2 * down - right])[None]


def hole(x, rows=slice(3, 9), columns=slice(4, 11)):
    gone = torch.zeros(x[:, 0].shape, dtype=torch.bool)
    gone[:, rows, columns] = True
    return gone


def test_an_even_slope_comes_back_exactly(ramp):
    filled = evaluation.imputed(ramp * 1.0, hole(ramp), noise=0)
    torch.testing.assert_close(filled, ramp, atol=1e-5, rtol=0)


def test_one_pixel_is_the_weighted_mean_of_its_neighbours():
    x = torch.rand(1, 1, 3, 3)
    gone = torch.zeros(1, 3, 3, dtype=torch.bool)
    gone[0, 1, 1] = True
    around = x[0, 0]
    straight = around[0, 1] + around[1, 0] + around[1, 2] + around[2, 1]
    diagonal = around[0, 0] + around[0, 2] + around[2, 0] + around[2, 2]
    torch.testing.assert_close(evaluation.imputed(x, gone, noise=0)[0, 0, 1, 1], (2 * straight + diagonal) / 12)
    gone[:] = False
    gone[0, 0, 0] = True  # a corner has three neighbours, whose weights still sum to one
    corner = (2 * around[0, 1] + 2 * around[1, 0] + around[1, 1]) / 5
    torch.testing.assert_close(evaluation.imputed(x, gone, noise=0)[0, 0, 0, 0], corner)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_it_agrees_with_the_library(share):
    road = pytest.importorskip("pytorch_grad_cam.metrics.road")
    rng = torch.Generator().manual_seed(1)
    x, gone = torch.randn(3, 3, 16, 11, generator=rng), torch.rand(3, 16, 11, generator=rng) < share
    theirs = torch.stack([road.NoisyLinearImputer(noise=0)(a, (~g).float()) for a, g in zip(x, gone, strict=True)])
    torch.testing.assert_close(evaluation.imputed(x, gone, noise=0), theirs, atol=1e-5, rtol=0)


def test_what_is_known_stays_and_noise_falls_on_the_rest_alone(ramp):
    gone, before = hole(ramp), ramp.clone()
    filled = evaluation.imputed(ramp, gone, noise=0.5)
    assert torch.equal(ramp, before)
    assert torch.equal(filled[:, :, ~gone[0]], ramp[:, :, ~gone[0]])
    assert 0.35 < (filled - ramp)[:, :, gone[0]].std() < 0.65
    assert torch.equal(evaluation.imputed(ramp, gone, noise=0.5), filled)
    other = evaluation.imputed(ramp, gone, noise=0.5, generator=torch.Generator().manual_seed(9))
    assert not torch.equal(other, filled)


def test_with_nothing_gone_nothing_changes_and_with_all_gone_nothing_is_left(ramp):
    none, everything = hole(ramp, slice(0, 0)), hole(ramp, slice(None), slice(None))
    assert torch.equal(evaluation.imputed(ramp, none), ramp)
    assert not evaluation.imputed(ramp, everything, noise=0).any()


class Sum(nn.Module):
    def forward(self, x):
        return x.flatten(1).sum(1, keepdim=True) * torch.tensor([1.0, -1])


@pytest.mark.parametrize("curve", [evaluation.deletion, evaluation.insertion])
def test_the_curves_of_road(curve):
    x = torch.rand(2, 3, 8, 9, generator=torch.Generator().manual_seed(2)) + 1
    maps = torch.rand(2, 8, 9, generator=torch.Generator().manual_seed(3))
    whole, empty = (0, -1) if curve is evaluation.deletion else (-1, 0)
    fractions, scores = curve(Sum(), x, maps, 0, steps=6, baseline=evaluation.imputed)
    torch.testing.assert_close(scores[:, whole], x.flatten(1).sum(1))
    assert (scores[:, empty].abs() < 3 * 8 * 9 * 0.01).all()  # all gone: only noise
    middle = scores[:, 1:-1] / scores[:, [whole]]
    assert ((0.8 < middle) & (middle < 1.2)).all(), "the mean of neighbours keeps the sum, nearly"
    for chunk in (1, 5):
        again = curve(Sum(), x, maps, 0, steps=6, baseline=evaluation.imputed, chunk=chunk)[1]
        torch.testing.assert_close(again, scores)
    alone = curve(Sum(), x[1:], maps[1:], 0, steps=6, baseline=evaluation.imputed)[1]
    torch.testing.assert_close(alone[0], scores[1])


@pytest.mark.parametrize(
    ("gone", "noise", "words"),
    [
        (torch.zeros(1, 12, 15), 0.01, "bool"),
        (torch.zeros(12, 15, dtype=torch.bool), 0.01, r"\[1, 12, 15\]"),
        (None, 0.01, "NoneType"),
        (torch.zeros(1, 12, 15, dtype=torch.bool), -1, "0 or more"),
    ],
)
def test_what_cannot_be_filled(ramp, gone, noise, words):
    with pytest.raises(ValueError, match=words):
        evaluation.imputed(ramp, gone, noise=noise)


def test_a_function_that_returns_something_else_is_refused(ramp):
    with pytest.raises(ValueError, match="must return the pictures without"):
        evaluation.deletion(Sum(), ramp, ramp[:, 0], 0, steps=2, baseline=lambda x, gone: gone)
