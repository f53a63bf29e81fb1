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
    with pytest.raises(ValueError, match="first linear layer"):
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


# --- layouts, and batches of one ---


class WithView(nn.Module):
    """Flattens with view, as many networks of tutorials do: it cannot run in the layout "channels last"."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8 * 64, 2)

    def forward(self, x):
        return self.fc(self.conv(x).relu().view(-1, 8 * 64))


class LayoutSeen(nn.Module):
    """Passes pictures on and notes whether they lie channels last in memory."""

    def __init__(self):
        super().__init__()
        self.net, self.seen = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(2)), []

    def forward(self, x):
        self.seen.append(x.is_contiguous(memory_format=torch.channels_last))
        return self.net(x)


def coloured(count=20):
    images = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return images, (images[:, 0].mean((1, 2)) > images[:, 1].mean((1, 2))).long()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_net_that_flattens_with_view_is_trained_and_asked(layout):
    images, labels = coloured()
    seed_everything(0)
    model = WithView()
    losses = fit(
        model, images.contiguous(memory_format=layout), labels, Recipe(15, lr=0.01, batch_size=8), progress=False
    )
    assert losses[-1] < losses[0]
    whole = predict_logits(model, images)
    for size in (1, 3, 20, 1000):
        found = predict_logits(model, images.contiguous(memory_format=layout), batch_size=size)
        torch.testing.assert_close(found, whole)


def test_colour_pictures_lie_channels_last_where_the_net_can():
    images, labels = coloured()
    model = LayoutSeen()
    model(images[:2])
    model.seen.clear()
    fit(model, images, labels, Recipe(1, batch_size=10), progress=False)
    assert model.seen == [True, True], "the trial ran on a copy"


def test_the_trial_of_the_layout_changes_nothing():
    images, labels = coloured()
    results = []
    for trial in (True, False):
        seed_everything(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 2))
        with pytest.MonkeyPatch.context() as patch:
            if not trial:
                patch.setattr("helpers.training._layout", lambda *args: torch.channels_last)
            results.append(
                (fit(model, images, labels, Recipe(2, batch_size=10), progress=False), model[1].num_batches_tracked)
            )
    assert results[0] == results[1]


@pytest.mark.parametrize("count", [9, 65, 64, 2])
def test_every_picture_is_seen_once_an_epoch_and_no_batch_is_of_one(count):
    sizes, seen = [], []

    def note(batch):
        sizes.append(len(batch))
        seen.extend(batch[:, 0].tolist())
        return batch

    model = nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    images = torch.arange(count)[:, None].float()
    fit(model, images, torch.arange(count) % 2, Recipe(2, batch_size=8), transform=note, progress=False)
    assert min(sizes) > 1 and max(sizes) <= 9
    assert sorted(seen) == sorted([*range(count)] * 2)


def test_batch_norm_on_a_single_picture_gets_a_sentence():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.BatchNorm1d(4))
    images, labels = toy()
    for count, recipe in ((1, Recipe(1)), (4, Recipe(1, batch_size=1))):
        with pytest.raises(ValueError, match="BatchNorm cannot take a mean over a batch of one picture: give two"):
            fit(model, images[:count], labels[:count], recipe, progress=False)


# --- what must not come back as trained ---


def state(model):
    """Weights and modes of a model; the mode of its last module is changed first, so that modes differ."""
    list(model.modules())[-1].eval()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    return weights, [module.training for module in model.modules()]


def assert_untouched(model, before):
    weights, modes = before
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_pictures_that_are_not_finite_are_named_before_anything_is_trained(value):
    images, labels = toy(600)
    images[555, 0, 1, 1] = value
    model = net()
    before = state(model)
    with pytest.raises(ValueError, match="images hold NaN or infinite values, first in number 555; leave it out"):
        fit(model, images, labels, progress=False)
    shares = nn.functional.one_hot(labels, 2).float()
    shares[3] = value
    with pytest.raises(ValueError, match="labels hold NaN or infinite values, first in number 3"):
        fit(model, torch.rand_like(images), shares, progress=False)
    assert_untouched(model, before)


@pytest.mark.parametrize(
    ("transform", "recipe", "message"),
    [
        (
            lambda x: x / 0 - x / 0,
            Recipe(1),
            "loss was nan in batch 1, .* the transform makes NaN .* weights are as before",
        ),
        (None, Recipe(3, "sgd", lr=1e30), "and training stopped; lower the learning rate, which is 1e.30"),
        (
            None,
            Recipe(1, "sgd", lr=3e38, batch_size=300),
            "The weights became NaN or infinite in the last step; lower .* as before",
        ),
    ],
    ids=["transform", "rate", "the only step"],
)
def test_a_loss_that_is_not_finite_stops_and_undoes_it(transform, recipe, message):
    images, labels = toy()
    seed_everything(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    scale = 100 if recipe.batch_size == 300 else 1
    with torch.no_grad():
        model[4].weight *= scale
        before = state(model)
    with pytest.raises(ValueError, match=message):
        fit(model, images, labels, recipe, transform=transform, progress=False)
    assert_untouched(model, before)


def test_an_error_on_the_way_undoes_it_and_an_interruption_keeps_it():
    images, labels = toy()
    for error in (RuntimeError("from the transform"), KeyboardInterrupt()):
        steps = []

        def transform(batch, steps=steps, error=error):
            steps.append(1)
            if len(steps) > 2:
                raise error
            return batch

        model = net()
        before = state(model)
        with pytest.raises(type(error)):
            fit(model, images, labels, Recipe(1, lr=0.1), transform=transform, progress=False)
        if isinstance(error, RuntimeError):
            assert_untouched(model, before)
        else:
            assert not torch.equal(model[1].weight, before[0]["1.weight"])
            assert not any(module.training for module in model.modules())
            assert all(parameter.grad is None for parameter in model.parameters())


def test_nothing_is_left_behind():
    images, labels = toy()
    given = images.clone(), labels.clone()
    model = net()
    fit(model, images, labels, Recipe(1), progress=False)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(images, given[0]) and torch.equal(labels, given[1]) and not images.requires_grad


# --- what is refused ---


class Pair(nn.Module):
    def forward(self, x):
        return x.flatten(1), x


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.full((300,), 2), "labels go from 2 to 2, the model has 2 classes: number them 0 to 1"),
        (torch.full((300,), -1), "labels go from -1 to -1"),
        (torch.zeros(300), r"labels are float32 \[300\]; give class numbers"),
        (torch.zeros(300, 1).long(), r"labels are int64 \[300, 1\]; give class numbers"),
        (torch.full((300, 5), 0.2), "labels give probabilities of 5 classes, the model has 2"),
    ],
)
def test_labels_that_do_not_fit(labels, message):
    model = net()
    before = state(model)
    with pytest.raises(ValueError, match=message):
        fit(model, toy()[0], labels, progress=False)
    assert_untouched(model, before)


def test_labels_may_be_any_whole_numbers():
    images, labels = toy()
    losses = [
        fit(net(), images, labels.to(kind), Recipe(1), progress=False) for kind in (torch.long, torch.uint8, torch.bool)
    ]
    assert losses[0] == losses[1] == losses[2]


def test_pictures_that_the_model_cannot_take():
    images, labels = toy()
    with pytest.raises(ValueError, match=r"images are torch.uint8.*images.float\(\) / 255"):
        fit(net(), (255 * images).byte(), labels, progress=False)
    with pytest.raises(ValueError, match=r"images are torch.float64, .* use .to\(torch.float32\)"):
        fit(net(), images.double(), labels, progress=False)
    with pytest.raises(ValueError, match="images are torch.uint8"):
        predict_logits(net(), (255 * images).byte())
    with pytest.raises(TypeError, match="images and labels are ndarray and Tensor; give tensors"):
        fit(net(), images.numpy(), labels, progress=False)


def test_outputs_that_are_no_logits():
    images, labels = toy()
    with pytest.raises(TypeError, match="gives a tuple, not one tensor of logits: wrap it"):
        predict_logits(Pair(), images)
    with pytest.raises(TypeError, match="gives a tuple, not one tensor of logits: wrap it"):
        fit(nn.Sequential(nn.Conv2d(1, 1, 1), Pair()), images, labels, progress=False)
    with pytest.raises(ValueError, match=r"gives \[300, 1, 4, 4\] for 300 images; logits are \[N, classes\]"):
        predict_logits(nn.Identity(), images)


def test_nothing_to_train():
    images, labels = toy()
    for model in (net().requires_grad_(False), nn.Flatten()):
        with pytest.raises(ValueError, match="no parameter to train; unfreeze some"):
            fit(model, images, labels, progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "Recipe.epochs is 0; give a whole number"),
        ({"epochs": 1.5}, "Recipe.epochs is 1.5"),
        ({"epochs": 1, "batch_size": 0}, "Recipe.batch_size is 0"),
        ({"epochs": 1, "lr": 0.0}, "give lr above zero"),
        ({"epochs": 1, "lr": float("nan")}, "give lr above zero"),
        ({"epochs": 1, "weight_decay": -1.0}, "weight_decay zero or more"),
        ({"epochs": 1, "optimiser": "adam"}, "'adamw' or 'sgd'"),
    ],
)
def test_empty_recipes(options, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**options)


def test_accuracy_compares_one_class_number_with_each_picture():
    images, labels = toy()
    for wrong in (labels[:1], labels[:, None], nn.functional.one_hot(labels, 2), labels.float()):
        with pytest.raises(ValueError, match="give a class number for each of 300 images"):
            measure_accuracy(net(), images, wrong)
    with pytest.raises(ValueError, match="Got 0 images and batch_size 500; give one or more of both"):
        measure_accuracy(net(), images[:0], labels[:0])
    with pytest.raises(ValueError, match="Got 300 images and batch_size 0"):
        predict_logits(net(), images, batch_size=0)


def test_seeds_have_a_range():
    for seed in (-1, 2**32):
        with pytest.raises(ValueError, match="give a whole number from 0"):
            seed_everything(seed)


@pytest.mark.parametrize("block", [torch.no_grad, torch.inference_mode])
def test_it_trains_also_where_gradients_are_switched_off(block):
    images, labels = torch.rand(12, 4), torch.arange(12) % 2
    net, same = nn.Linear(4, 2), nn.Linear(4, 2)
    same.load_state_dict(net.state_dict())
    losses = fit(net, images, labels, progress=False)
    with block():
        assert fit(same, images, labels, progress=False) == losses
    assert torch.equal(same.weight, net.weight)


def test_what_is_no_module_is_not_trained():
    with pytest.raises(TypeError, match=r"give a torch\.nn\.Module"):
        fit(lambda x: x, torch.rand(4, 2), torch.arange(4) % 2, progress=False)


@pytest.mark.parametrize("labels", [torch.ones(4, 2), torch.tensor([[2.0, -1.0]]).repeat(4, 1)])
def test_floats_that_are_no_probabilities(labels):
    with pytest.raises(ValueError, match="no probabilities"):
        fit(nn.Linear(3, 2), torch.rand(4, 3), labels, progress=False)


def test_asking_leaves_the_pictures_as_they_were():
    class Doubles(nn.Linear):
        def forward(self, x):
            return super().forward(x.mul_(2))

    images = torch.rand(4, 3)
    before = images.clone()
    predict_logits(Doubles(3, 2), images, transform=lambda batch: batch.add_(1))
    assert torch.equal(images, before)


def colours(count=8, channels=3):
    """Colour pictures of three classes, and a net for them."""
    seed_everything(0)
    net = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    return net, torch.rand(count, 3, 6, 6), torch.arange(count) % 3


ASKED = {
    "fit": lambda net, x, y, **more: fit(net, x, y, Recipe(1, batch_size=4), progress=False, **more),
    "predict": lambda net, x, y, **more: predict_logits(net, x, **more),
    "measure": lambda net, x, y, **more: measure_accuracy(net, x, y, **more),
}
asked = pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)


@asked
def test_pictures_with_other_channels(ask):
    net, x, y = colours(channels=1)
    with pytest.raises(ValueError, match="images have 3 channels, Sequential takes 1"):
        ask(net, x, y)
    ask(net, x, y, transform=lambda batch: batch.mean(1, keepdim=True))
    with pytest.raises(ValueError, match=r"shape \[\d, 108\], Sequential begins with a Conv2d: give \[N, C, H, W\]"):
        ask(net, x.flatten(1), y)


@asked
def test_pictures_of_another_size_than_the_linear_layer_takes(ask):
    _, x, y = colours()
    with pytest.raises(ValueError, match="108 values for each, and the first linear layer of Sequential takes 100"):
        ask(nn.Sequential(nn.Flatten(), nn.Linear(100, 3)), x, y)


@asked
def test_weights_without_values(ask):
    net, x, y = colours()
    with pytest.raises(ValueError, match=r"Sequential is on the meta device.*load it"):
        ask(net.to("meta"), x, y)


TRANSFORMS = {
    "nothing returned": (lambda batch: None, TypeError, "returns a NoneType; it must return the batch"),
    "an array": (lambda batch: batch.numpy(), TypeError, "returns a ndarray"),
    "fewer": (lambda batch: batch[:1], ValueError, r"makes 1 of \d images"),
}


@asked
@pytest.mark.parametrize("how", TRANSFORMS)
def test_transforms_that_return_no_batch(ask, how):
    transform, error, said = TRANSFORMS[how]
    net, x, y = colours()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(error, match=said):
        ask(net, x, y, transform=transform)
    torch.testing.assert_close(net.state_dict(), before)


@pytest.mark.parametrize("ask", [ASKED["fit"], ASKED["measure"]], ids=["fit", "measure"])
@pytest.mark.parametrize("shift", [1, -1])
def test_labels_that_are_no_classes_of_the_model(ask, shift):
    net, x, y = colours()
    with pytest.raises(ValueError, match="the model has 3 classes: number them 0 to 2"):
        ask(net, x, y + shift)


@asked
def test_lists_and_arrays(ask):
    net, x, y = colours()
    with pytest.raises(TypeError, match=r"torch.as_tensor\(array\)"):
        ask(net, x.numpy(), y)
    if ask is not ASKED["predict"]:
        with pytest.raises(TypeError, match="torch.as_tensor"):
            ask(net, x, y.tolist())


@pytest.mark.parametrize("shift", [0, 1])
def test_layers_without_a_shape_get_it_before_the_training(shift):
    _, x, y = colours()
    net = nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    if shift:
        with pytest.raises(ValueError, match="number them 0 to 2"):
            ASKED["fit"](net, x, y + shift)
    else:
        assert len(ASKED["fit"](net, x, y)) == 2


def test_a_net_made_in_inference_mode_is_not_trained():
    with torch.inference_mode():
        net, x, y = colours()
    with pytest.raises(ValueError, match="made under torch.inference_mode"):
        ASKED["fit"](net, x, y)


def test_half_precision_is_named_where_the_loss_is_no_number():
    net, x, y = colours()
    with pytest.raises(ValueError, match="too coarse to train with"):
        ASKED["fit"](net.half(), 0 * x.half(), y)  # AdamW divides 0 by an epsilon of 0


def test_a_recipe_that_is_none():
    with pytest.raises(TypeError, match="give a Recipe"):
        fit(*colours(), None)
