"""fit, predict and evaluate: they learn, repeat themselves with a seed, and leave the model as they say."""

import pytest
import torch
from torch import nn

from helpers.training import FULL, QUICK, Recipe, best_device, fit, measure_accuracy, predict_logits, seed_everything


def toy(count=300):
    """Pictures [N, 1, 4, 4] of two classes: more light on the left, or on the right."""
    images = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    return images, (images[..., :2].sum((1, 2, 3)) < images[..., 2:].sum((1, 2, 3))).long()


def net():
    seed_everything(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.Dropout(0.5), nn.ReLU(), nn.Linear(16, 2))


@pytest.mark.parametrize(
    "recipe", [Recipe(30, lr=0.02), Recipe(30, "sgd", lr=0.1, batch_size=50)], ids=["adamw", "sgd"]
)
def test_it_learns(recipe):
    images, labels = toy()
    model = net()
    before = measure_accuracy(model, images, labels)
    losses = fit(model, images, labels, recipe, progress=False)
    assert len(losses) == recipe.epochs * -(-len(images) // recipe.batch_size)
    assert measure_accuracy(model, images, labels) > max(0.9, before) and sum(losses[-5:]) < sum(losses[:5])
    assert not any(module.training for module in model.modules())


def test_a_seed_repeats_it():
    images, labels = toy()
    models = [net() for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        fit(model, images, labels, Recipe(1), seed=seed, progress=False)
    first, same, other = (torch.cat([p.flatten() for p in model.parameters()]) for model in models)
    assert torch.equal(first, same) and not torch.equal(first, other)


def test_labels_may_be_shares_and_a_transform_is_applied_to_both():
    images, labels = toy()
    model = net()
    options = {"transform": lambda batch: batch.float() / 255}
    raw = (images * 255).byte()
    fit(model, raw, nn.functional.one_hot(labels, 2).float(), Recipe(30, lr=0.02), progress=False, **options)
    assert measure_accuracy(model, raw, labels, **options) > 0.9


def test_frozen_parameters_stay():
    images, labels = toy()
    model = net()
    model[1].requires_grad_(False)
    before = model[1].weight.clone()
    fit(model, images, labels, Recipe(1), progress=False)
    assert torch.equal(model[1].weight, before)


def test_predict_restores_the_mode_also_after_an_error():
    images, _ = toy()
    model = net().train()
    model[2].eval()
    modes = [module.training for module in model.modules()]
    logits = predict_logits(model, images, batch_size=7)
    assert not logits.requires_grad
    torch.testing.assert_close(logits, predict_logits(model, images))  # no dropout, whatever the batches
    with pytest.raises(RuntimeError):
        predict_logits(model, images[..., :2])
    assert modes == [module.training for module in model.modules()]


def test_bad_input():
    images, labels = toy()
    with pytest.raises(ValueError, match="0 images"):
        fit(net(), images[:0], labels[:0], progress=False)
    with pytest.raises(ValueError, match="300 images and 299 labels"):
        fit(net(), images, labels[1:], progress=False)
    with pytest.raises(ValueError, match="'adamw' or 'sgd'"):
        fit(net(), images, labels, Recipe(1, "adam"), progress=False)


def test_recipes_and_device():
    assert (FULL.epochs, FULL.optimiser, FULL.lr) == (15, "sgd", 0.01) and QUICK.epochs < FULL.epochs
    assert torch.zeros(1, device=best_device()).item() == 0
