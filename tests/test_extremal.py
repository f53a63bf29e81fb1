"""Extremal perturbation: it finds planted objects, keeps the area, and does not follow single seeds."""

import pytest
import torch
from torch import nn

from helpers import attribution
from helpers.data import shapes
from helpers.models import load_classifier
from nets import Tiny, pictures


class Spot(nn.Module):
    """Its class 1 is the brightness of one block of the picture, its class 0 that of the rest."""

    def __init__(self, rows=slice(8, 16), columns=slice(16, 24)):
        super().__init__()
        inside = torch.zeros(32, 32)
        inside[rows, columns] = 1
        self.register_buffer("inside", inside)

    def forward(self, x):
        value = x.mean(1)
        return torch.stack([(value * (1 - self.inside)).mean((1, 2)), (value * self.inside).mean((1, 2))], 1)


def test_the_mask_is_where_the_score_comes_from():
    net = Spot()
    mask = attribution.extremal_perturbation(net, torch.ones(1, 3, 32, 32), 1, area=1 / 16)[0]
    assert mask[10:14, 18:22].min() > 0.9  # the middle of the block; its edges are soft
    assert mask[:, :8].max() < 0.1 and mask[24:].max() < 0.1
    other = attribution.extremal_perturbation(net, torch.ones(1, 3, 32, 32), 0, area=1 / 16)[0]
    assert other[10:14, 18:22].max() < 0.1


@pytest.mark.parametrize("area", [0.1, 0.3, 0.6])
def test_the_area_is_kept(area):
    mask = attribution.extremal_perturbation(Tiny(), pictures(2), 1, area=area)
    assert mask.min() >= 0 and mask.max() <= 1
    assert ((mask.mean((1, 2)) - area).abs() < 0.06).all()


def test_on_objects_it_beats_a_random_place():
    classifier, scene = load_classifier("shapes_resnet"), shapes.one(8, seed=3, off_centre=True)
    x, objects = shapes.preprocess(scene.images), torch.from_numpy(scene.masks)
    masks = attribution.extremal_perturbation(classifier.model, x, torch.from_numpy(scene.labels), area=0.15, steps=40)
    covered = (masks * objects).sum((1, 2)) / objects.sum((1, 2))
    elsewhere = (masks * objects.flip(1, 2)).sum((1, 2)) / objects.sum((1, 2))
    assert covered.mean() > 0.6 and elsewhere.mean() < 0.3


def test_a_generator_decides_the_shifts():
    net, x = Tiny(), pictures(1)
    first, again = (
        attribution.extremal_perturbation(net, x, 1, steps=9, generator=torch.Generator().manual_seed(4))
        for _ in range(2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, attribution.extremal_perturbation(net, x, 1, steps=9))


ARGUMENTS = [
    ({"area": 0}, "area is 0; give the share"),
    ({"area": 1.0}, "area is 1.0; give the share"),
    ({"cells": 0}, "cells is 0; give a whole number"),
    ({"steps": 1.5}, "steps is 1.5; give a whole number"),
    ({"baseline": pictures(1)}, "has the score of its baseline: give another"),
]


@pytest.mark.parametrize(("options", "sentence"), ARGUMENTS)
def test_arguments_that_cannot_be_used(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        attribution.extremal_perturbation(Tiny(), pictures(1), 1, **options)
