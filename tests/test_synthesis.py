"""Class means against a loop; prototypes against scipy's optimiser, and the model left as it came."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize
from torch import nn
from torch.testing import assert_close

from helpers import synthesis
from helpers.synthesis import class_means, class_prototypes

SIDE, CLASSES = 6, 4


def small_net(linear: bool = True, dtype: torch.dtype = torch.float64) -> nn.Module:
    """A classifier of [N, 1, 6, 6] into four classes; dropout shows whether it is run in eval() mode."""
    torch.manual_seed(3)
    between = nn.Identity() if linear else nn.Softplus()  # smooth, so that there is one slope everywhere
    layers = nn.Linear(SIDE**2, 12), between, nn.Dropout(0.5), nn.Linear(12, CLASSES)
    return nn.Sequential(nn.Flatten(), *layers).to(dtype).train()


def mean_pictures(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(CLASSES, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(4)).to(dtype)


def objective(
    net: nn.Module, x: torch.Tensor, means: torch.Tensor, classes: torch.Tensor, weight: float
) -> torch.Tensor:
    """The formula, written out: means over the classes and, for the square, over their pixels."""
    log_p = net(x).log_softmax(1)
    named = torch.stack([log_p[i, c] for i, c in enumerate(classes.tolist())])
    return -named.sum() / len(x) + weight * ((x - means) ** 2).sum() / x.numel()


def scipy_optimum(net: nn.Module, means: torch.Tensor, classes: torch.Tensor, weight: float) -> torch.Tensor:
    def value_and_slope(flat: np.ndarray) -> tuple[float, np.ndarray]:
        x = torch.from_numpy(flat).view_as(means).requires_grad_()
        loss = objective(net, x, means, classes, weight)
        return loss.item(), torch.autograd.grad(loss, x)[0].flatten().numpy()

    options = {"maxiter": 5000, "maxfun": 20000, "ftol": 1e-16, "gtol": 1e-12}
    start = np.zeros(means.numel())
    return torch.from_numpy(minimize(value_and_slope, start, jac=True, method="L-BFGS-B", options=options).x).view_as(
        means
    )


def state(net: nn.Module) -> tuple:
    modes = [m.training for m in net.modules()]
    flags = [(p.requires_grad, p.grad) for p in net.parameters()]
    return modes, flags, [p.detach().clone() for p in net.parameters()]


def assert_untouched(net: nn.Module, before: tuple) -> None:
    assert state(net)[:2] == before[:2]
    assert_close(state(net)[2], before[2], rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 4, 5)])
def test_means_are_those_of_a_loop(shape):
    random = torch.Generator().manual_seed(0)
    images, labels = torch.rand(200, *shape, generator=random), torch.randint(0, 7, (200,), generator=random)
    means = class_means(images, labels, 7)
    assert means.shape == (7, *shape) and means.dtype == images.dtype
    assert_close(means, torch.stack([images[labels == c].mean(0) for c in range(7)]))


def test_means_keep_double_precision():
    images, labels = torch.rand(20, 1, 2, 2, dtype=torch.float64), torch.arange(20) % 10
    assert_close(class_means(images, labels), (images[:10] + images[10:]) / 2)


@pytest.mark.parametrize(
    ("images", "labels", "error", "message"),
    [
        (torch.rand(4, 1, 2, 2), torch.tensor([0, 1, 1, 1]), ValueError, "Class 2 has no picture"),
        (torch.rand(4, 1, 2, 2), torch.tensor([0, 1, 2]), ValueError, "give one for each"),
        (torch.rand(4, 1, 2, 2), torch.tensor([0, 1, 2, 3]), ValueError, "from 0 to 3 for 3 classes"),
        (torch.rand(4, 1, 2, 2), torch.tensor([0, 1, 2, -1]), ValueError, "from -1 to 2 for 3 classes"),
        (torch.rand(0, 1, 2, 2), torch.zeros(0, dtype=torch.long), ValueError, "Class 0 has no picture"),
        (torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 2, 2]), TypeError, "into floats"),
        (torch.rand(4, 1, 2, 2), torch.tensor([0.0, 1, 2, 2]), TypeError, "whole class numbers"),
    ],
)
def test_means_refuse_in_words(images, labels, error, message):
    with pytest.raises(error, match=message):
        class_means(images, labels, 3)


@pytest.mark.parametrize("linear", [True, False], ids=["linear", "curved"])
@pytest.mark.parametrize("weight", [0.1, 3.0])
def test_lbfgs_finds_scipys_optimum(linear, weight):
    net, means, classes = small_net(linear), mean_pictures(), torch.arange(CLASSES)
    found = class_prototypes(net, means, weight=weight)
    net.eval()
    best = scipy_optimum(net, means, classes, weight)
    bottom = objective(net, best, means, classes, weight).item()
    assert found.losses[-1] == pytest.approx(bottom, rel=1e-9)
    assert found.losses[-1] == pytest.approx(objective(net, found.images, means, classes, weight).item(), rel=1e-12)
    assert_close(found.images, best, atol=1e-5, rtol=0)
    assert not found.images.requires_grad


def test_a_linear_nets_prototypes_are_its_weights():
    net, means, weight = small_net(), mean_pictures(), 0.1
    x = class_prototypes(net, means, weight=weight).images
    net.eval()
    matrix = net[4].weight @ net[1].weight
    wanting = torch.eye(CLASSES, dtype=x.dtype) - net(x).softmax(1)
    assert_close((x - means).flatten(1), SIDE**2 / (2 * weight) * wanting @ matrix, atol=1e-6, rtol=0)


def test_tiny_slopes_do_not_slow_it_down():
    """Many pixels make tiny slopes, for which a plain L-BFGS of torch's forgets curvature: 76 evaluations here."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(28**2, 32), nn.Softplus(), nn.Linear(32, CLASSES)).double()
    means = torch.rand(CLASSES, 1, 28, 28, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = class_prototypes(net, means, weight=0.01)
    assert len(found.losses) < 60
    x = found.images.requires_grad_()
    slope = torch.autograd.grad(F.cross_entropy(net(x), torch.arange(CLASSES), reduction="sum"), x)[0]
    assert_close(x - means, -(28**2) / 0.02 * slope, atol=1e-5, rtol=0)


def test_adam_comes_to_the_same_place():
    net, means = small_net(dtype=torch.float32), mean_pictures(torch.float32)
    bottom = class_prototypes(net, means)
    short, long = (class_prototypes(net, means, optimiser="adam", steps=steps) for steps in (200, 3000))
    far, near = ((one.images - bottom.images).abs().max() for one in (short, long))
    assert near < 2e-3 and near < far / 10
    assert long.losses[-1] == pytest.approx(bottom.losses[-1], rel=1e-3)
    assert len(short.losses) == 201 and short.losses[0] > short.losses[-1]


def test_only_the_classes_asked_for():
    net, means = small_net(), mean_pictures()
    every = class_prototypes(net, means).images
    some = class_prototypes(net, means[[3, 1]], classes=[3, 1]).images
    assert_close(some, every[[3, 1]], atol=1e-5, rtol=0)


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
def test_it_begins_at_the_start_and_leaves_it_alone(optimiser):
    net, means = small_net(), mean_pictures()
    start = torch.rand(means.shape, generator=torch.Generator().manual_seed(5), dtype=means.dtype)
    kept, seen = start.clone(), []
    moved = class_prototypes(
        net, means, start=start, optimiser=optimiser, steps=2, on_step=lambda *one: seen.append(one)
    )
    assert_close(seen[0][2], kept, rtol=0, atol=0)
    assert_close(start, kept, rtol=0, atol=0)
    assert not torch.equal(moved.images, kept)
    zeros = []
    class_prototypes(net, means, optimiser=optimiser, steps=1, on_step=lambda count, loss, x: zeros.append(x))
    assert not zeros[0].any()


def test_a_convex_objective_forgets_the_start():
    net, means = small_net(), mean_pictures()
    far = class_prototypes(net, means, start=5 * torch.randn(means.shape, dtype=means.dtype)).images
    assert_close(far, class_prototypes(net, means).images, atol=1e-5, rtol=0)


def test_weight_holds_the_pictures_at_their_means():
    net, means = small_net(), mean_pictures()
    gaps = [(class_prototypes(net, means, weight=w).images - means).norm() for w in (0.01, 0.1, 10.0, 1e4)]
    assert gaps == sorted(gaps, reverse=True) and gaps[-1] < 1e-2


def test_without_a_weight_it_runs_off():
    net, means = small_net(), mean_pictures()
    runs = [class_prototypes(net, means, weight=0.0, optimiser="adam", steps=steps) for steps in (300, 1200)]
    assert runs[1].losses[-1] < runs[0].losses[-1] / 2
    assert runs[1].images.norm() > 1.2 * runs[0].images.norm()


def test_every_evaluation_is_told():
    told = []
    found = class_prototypes(small_net(), mean_pictures(), on_step=lambda *one: told.append(one))
    counts, losses, pictures = zip(*told, strict=True)
    assert list(counts) == list(range(len(found.losses))) and list(losses) == found.losses
    assert_close(pictures[-1], found.images, rtol=0, atol=0)
    assert not pictures[0].any()  # copies: the first was not overwritten by later steps


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
def test_the_model_is_left_as_it_was(optimiser):
    net, means = small_net(linear=False), mean_pictures()
    net[1].requires_grad_(False)
    net[3].eval()
    before, kept = state(net), means.clone()
    class_prototypes(net, means, optimiser=optimiser, steps=5)
    assert_untouched(net, before)
    assert_close(means, kept, rtol=0, atol=0)
    assert means.grad is None


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
def test_the_model_is_left_as_it_was_after_an_error(optimiser):
    net = small_net()
    before = state(net)

    def stop(count: int, loss: float, x: torch.Tensor) -> None:
        if count == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        class_prototypes(net, mean_pictures(), optimiser=optimiser, on_step=stop)
    assert_untouched(net, before)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_off(mode):
    expected = class_prototypes(small_net(), mean_pictures()).images
    net = small_net()
    with mode():
        found = class_prototypes(net, mean_pictures()).images
    assert_close(found.clone(), expected)


def test_frozen_and_single_precision_models_work():
    net, means = small_net(dtype=torch.float32).requires_grad_(False), mean_pictures(torch.float32)
    found = class_prototypes(net, means, start=torch.zeros(means.shape, dtype=torch.float64)).images
    assert found.dtype == torch.float32
    assert_close(found.double(), class_prototypes(small_net(), mean_pictures()).images, atol=0.02, rtol=0)
    assert F.cross_entropy(net.eval()(found), torch.arange(CLASSES)) < 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"means": mean_pictures()[0]}, ValueError, r"give one \[C, H, W\] for each"),
        ({"classes": [1, 2]}, ValueError, "for 2 classes"),
        ({"classes": [0, 1, 2, 4]}, ValueError, "Class 4 is out of range: this network has 4 classes"),
        ({"classes": [0, 1, 2, -1]}, ValueError, "Class -1 is out of range"),
        ({"start": torch.zeros(CLASSES, SIDE, SIDE)}, ValueError, "make them equal"),
        ({"start": torch.full((CLASSES, 1, SIDE, SIDE), torch.nan)}, ValueError, "NaN"),
        ({"means": mean_pictures() * torch.inf}, ValueError, "infinite"),
        ({"means": torch.zeros(CLASSES, 1, SIDE, SIDE, dtype=torch.uint8)}, TypeError, "floats"),
        ({"optimiser": "sgd"}, ValueError, "knows 'lbfgs' and 'adam', not 'sgd'"),
        ({"weight": -1.0}, ValueError, "the weight is 0 or more"),
        ({"steps": 0}, ValueError, "steps 1 or more"),
        ({"means": torch.zeros(0, 1, SIDE, SIDE)}, ValueError, "empty"),
    ],
)
def test_bad_input_is_refused_in_words(options, error, message):
    net = small_net()
    before = state(net)
    with pytest.raises(error, match=message):
        class_prototypes(net, **{"means": mean_pictures()} | options)
    assert_untouched(net, before)


# --- numbers and functions that make no sense ---

NAN = float("nan")
PICTURES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(5))
COLOURS = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def ascent(**options):
    return synthesis.maximise(COLOURS, synthesis.logit(1), PICTURES, steps=2, **options)


def dream(**options):
    return synthesis.deep_dream(COLOURS, PICTURES, **{"layer": "0", "octaves": 1, "steps": 2} | options)


REFUSED = {  # what is called, which error, what it says
    "rate": (lambda: ascent(rate=float("inf")), ValueError, "a rate above 0"),
    "clip": (lambda: ascent(clip=NAN), ValueError, "clip is above 0"),
    "l2": (lambda: ascent(l2=NAN), ValueError, "l1, l2, variation and blur are 0 or more"),
    "view of nothing": (lambda: ascent(view=lambda x, g: None), ValueError, "The view makes a NoneType"),
    "view of fewer": (lambda: ascent(view=lambda x, g: x[:1]), ValueError, r"The view makes \[1, 3, 8, 8\]"),
    "dream's rate": (lambda: dream(rate=NAN), ValueError, "rate above 0"),
    "dream's ratio": (lambda: dream(ratio=NAN), ValueError, "ratio is above 1"),
    "dream's steps": (lambda: dream(steps=1.5), ValueError, "whole numbers"),
    "dream's shift": (lambda: dream(shift=1.5), ValueError, "whole numbers"),
    "dream's objective": (lambda: dream(objective="energy"), TypeError, "a function of the layer's output"),
    "dream's NaN": (lambda: dream(objective=lambda y: y.mean((1, 2, 3)) * NAN), ValueError, "slope is NaN"),
    "norm": (lambda: synthesis.invert(COLOURS, PICTURES, layer="0", steps=2, norm=NAN), ValueError, "Got norm nan"),
    "errors": (lambda: synthesis.inversion_error(torch.ones(2, 3), torch.ones(2, 1)), ValueError, "equal in shape"),
    "weight": (lambda: class_prototypes(COLOURS, PICTURES[[0, 0, 1]], weight=NAN), ValueError, "weight nan"),
    "means": (lambda: class_prototypes(COLOURS, [1, 2]), TypeError, "The means are a list"),
    "NaN": (lambda: class_means(PICTURES * NAN, torch.arange(2), 2), ValueError, "Picture 0 holds NaN"),
    "size": (lambda: synthesis.noise(1, (3, 4)), ValueError, r"the size \(C, H, W\)"),
    "count": (lambda: synthesis.noise(0, (3, 4, 4)), ValueError, "1 or more pictures"),
    "turn": (lambda: synthesis.random_view(turn=NAN), ValueError, "turn nan"),
    "detail": (lambda: synthesis.high_frequencies(PICTURES[0]), ValueError, r"\[N, C, H, W\]"),
    "above": (lambda: synthesis.high_frequencies(PICTURES, above=NAN), ValueError, "above is nan"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_makes_no_sense_is_a_sentence(what):
    call, error, said = REFUSED[what]
    with pytest.raises(error, match=said):
        call()
