"""Gradient x input, SmoothGrad, VarGrad and integrated gradients: against captum, and against what must hold."""

import copy
import functools

import numpy as np
import pytest
import torch
from torch import nn

from helpers import attribution
from helpers.attribution import _common
from nets import Tiny, pictures, random_net

NETS = ("resnet18", "squeezenet1_1", "densenet121", "mobilenet_v2")
CLASSES = torch.tensor([7, 281, 640])
FEW = 4  # samples or steps: agreement needs no more
every_net = pytest.mark.parametrize("name", NETS)
noisy_methods = pytest.mark.parametrize("method", [attribution.smooth_grad, attribution.var_grad])


@pytest.fixture
def same_layout(monkeypatch):
    """Leave out the quicker memory layout, whose other rounding flips a ReLU here and there in float32."""
    monkeypatch.setattr(_common, "turned", lambda x: x)


@functools.cache
def three():
    """Three pictures at 96 of different contrast, so that each has noise of its own strength."""
    return pictures(3, 96) * torch.tensor([0.3, 1, 2])[:, None, None, None]


def assert_agree(got, expected, tolerance=1e-5):
    scale = expected.abs().amax((1, 2, 3), keepdim=True)
    assert (scale > 0).all()
    torch.testing.assert_close(got / scale, expected.detach() / scale, rtol=0, atol=tolerance)


def captums(name):
    return getattr(pytest.importorskip("captum.attr"), name)


# --- captum ---


@every_net
def test_gradient_x_input_is_captums(name):
    net, x = random_net(name), three()
    expected = captums("InputXGradient")(net).attribute(x.clone().requires_grad_(), CLASSES)
    assert_agree(attribution.gradient_x_input(net, x, CLASSES), expected)


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1"])
@pytest.mark.parametrize("baseline", [0.0, "a tensor"])
@pytest.mark.parametrize(("rule", "theirs"), [("gauss-legendre", "gausslegendre"), ("midpoint", "riemann_middle")])
def test_integrated_gradients_are_captums(name, baseline, rule, theirs, same_layout):
    net, x = random_net(name), three()
    start = pictures(3, 96, seed=5) if baseline else 0.0
    library = captums("IntegratedGradients")(net)
    expected = library.attribute(x, start, CLASSES, n_steps=FEW, method=theirs)
    got = attribution.integrated_gradients(net, x, CLASSES, baseline=start, steps=FEW, rule=rule)
    assert_agree(got, expected)


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1"])
@pytest.mark.parametrize("kind", ["smoothgrad", "vargrad"])
def test_with_the_same_noise_smooth_grad_and_var_grad_are_captums(name, kind, same_layout):
    """One picture a call: in a batch captum draws other noise for each picture, and with one strength for all."""
    net, x = random_net(name), three()
    method = {"smoothgrad": attribution.smooth_grad, "vargrad": attribution.var_grad}[kind]
    library = captums("NoiseTunnel")(captums("Saliency")(net))
    for one, target in zip(x.split(1), CLASSES.tolist(), strict=True):
        got = method(net, one, target, samples=FEW, generator=torch.Generator().manual_seed(11))
        strength = (0.15 * (one.max() - one.min())).item()
        torch.manual_seed(11)
        options = {"nt_type": kind, "nt_samples": FEW, "stdevs": strength, "abs": False}
        assert_agree(got, library.attribute(one.clone(), target=target, **options), 2e-5)


def test_in_float64_integrated_gradients_are_captums_whatever_the_layout():
    net, x = copy.deepcopy(random_net("resnet18")).double(), pictures(2, 32).double()
    library = captums("IntegratedGradients")(net)
    expected = library.attribute(x, target=CLASSES[:2], n_steps=FEW, method="gausslegendre")
    assert_agree(attribution.integrated_gradients(net, x, CLASSES[:2], steps=FEW), expected, 1e-6)  # float32 weights


def test_known_difference_captums_trapezoid_is_off_by_one_part_in_n():
    """Its weights sum to 1 - 1/n: even on a linear model, where any rule is exact, 1/n of the score is lost."""
    net, x = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 5)).double(), pictures(3, 8).double()
    change = (net(x) - net(torch.zeros_like(x)))[:, 2]
    library = captums("IntegratedGradients")(net)
    trapezoid = library.attribute(x, target=2, n_steps=10, method="riemann_trapezoid")
    torch.testing.assert_close(trapezoid.sum((1, 2, 3)), 0.9 * change, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(attribution.integrated_gradients(net, x, 2, steps=1).sum((1, 2, 3)), change)


# --- identities ---


def test_integrated_gradients_are_complete():
    """Exactly so where the slope is smooth, and there a few steps do: ReLUs and maxima are replaced in this net."""
    net = copy.deepcopy(random_net("resnet18")).double()
    for parent in list(net.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.ReLU):
                setattr(parent, name, nn.Softplus())
    for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
        del stage[1]
    net.maxpool = nn.AvgPool2d(2)
    x, start = pictures(3, 32).double(), pictures(3, 32, seed=5)
    for baseline in (start, 0.0, torch.tensor([0.2, -0.3, 0.1]).view(3, 1, 1)):
        result = attribution.integrated_gradients(net, x, CLASSES, baseline=baseline, steps=24)
        begin = torch.as_tensor(baseline).double().expand_as(x)
        change = (net(x) - net(begin)).gather(1, CLASSES[:, None])[:, 0]
        torch.testing.assert_close(result.sum((1, 2, 3)), change, rtol=1e-7, atol=1e-9)


def test_with_relus_the_gap_of_integrated_gradients_closes_as_steps_are_added():
    net, x = Tiny().double().eval(), pictures(3, 16).double()
    change = (net(x) - net(torch.zeros_like(x)))[:, 2]
    few, many = (attribution.integrated_gradients(net, x, 2, steps=steps).sum((1, 2, 3)) for steps in (2, 300))
    assert (many - change).abs().max() < 0.003 * change.abs().min() < (few - change).abs().max()


def test_without_biases_integrated_gradients_are_gradient_x_input_and_sum_to_the_logit():
    net, x = copy.deepcopy(random_net("squeezenet1_1")).double(), pictures(3, 64).double()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.bias)
    product = attribution.gradient_x_input(net, x, 7)
    torch.testing.assert_close(product.sum((1, 2, 3)), net(x)[:, 7])
    torch.testing.assert_close(attribution.integrated_gradients(net, x, 7, steps=3), product)


def test_the_points_of_the_midpoint_rule_are_the_middles_of_equal_parts():
    net, x, seen = Tiny().double().eval(), pictures(1, 8).double(), []
    net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    attribution.integrated_gradients(net, x, 1, baseline=0.5, steps=4, rule="midpoint")
    alphas = [((rows - 0.5) * (x - 0.5)).sum((1, 2, 3)) / (x - 0.5).square().sum() for rows in seen]
    torch.testing.assert_close(torch.cat(alphas)[-4:], torch.tensor([0.125, 0.375, 0.625, 0.875]).double())


def test_a_rule_that_does_not_exist():
    with pytest.raises(ValueError, match="no rule 'simpson'.*'gauss-legendre' and 'midpoint'"):
        attribution.integrated_gradients(Tiny(), pictures(2, 8), 0, rule="simpson")


def test_values_that_equal_the_baseline_get_nothing():
    net, x = Tiny(), pictures(1, 16)
    x[:, :, :5], start = 0.25, torch.full((3, 16, 16), 0.25)
    result = attribution.integrated_gradients(net, x, 1, baseline=start, steps=4)
    assert (result[:, :, :5] == 0).all() and (result[:, :, 5:] != 0).any()


def test_without_noise_smooth_grad_is_the_gradient_and_var_grad_is_zero():
    net, x = copy.deepcopy(random_net("resnet18")).double(), pictures(3, 32).double()
    slope = attribution.gradient(net, x, CLASSES)
    assert_agree(attribution.smooth_grad(net, x, CLASSES, level=0, samples=3), slope)
    still = attribution.var_grad(net, x, CLASSES, level=0, samples=3)
    assert still.max() < 1e-20 * slope.square().max()
    flat = torch.full((1, 3, 8, 8), 0.5)
    torch.testing.assert_close(attribution.smooth_grad(Tiny(), flat, 1, level=0), attribution.gradient(Tiny(), flat, 1))


def test_of_a_parabola_the_gradients_mean_and_variance_are_known():
    """y = sum x^2 has the gradient 2 x: with noise of strength s its mean is 2 x, its variance 4 s^2."""
    net, x = nn.Flatten(), pictures(2, 8) * torch.tensor([1.0, 3])[:, None, None, None]
    strength = 0.1 * (x.amax((1, 2, 3)) - x.amin((1, 2, 3)))
    options = {"level": 0.1, "samples": 4000, "chunk": 1000}
    mean = attribution.smooth_grad(net, x, lambda rows: rows.square().sum(1), **options)
    variance = attribution.var_grad(net, x, lambda rows: rows.square().sum(1), **options)
    assert ((mean - 2 * x).abs().amax((1, 2, 3)) < 5 * 2 * strength / 4000**0.5).all()
    torch.testing.assert_close(variance.mean((1, 2, 3)), 4 * strength**2, rtol=0.02, atol=0)
    linear = attribution.var_grad(nn.Flatten(), x, lambda rows: rows.sum(1))
    assert (linear == 0).all()


def test_var_grad_holds_where_the_gradient_is_large_and_its_variance_small():
    """E[g^2] - E[g]^2 in float32 would keep no digit of it."""
    x = pictures(2, 8)
    steep = attribution.var_grad(nn.Flatten(), x, lambda rows: (rows.square() + 1e4 * rows).sum(1))
    plain = attribution.var_grad(nn.Flatten().double(), x.double(), lambda rows: rows.square().sum(1))
    torch.testing.assert_close(steep.double(), plain, rtol=0.02, atol=1e-3)
    n, sample = 5, []
    attribution.smooth_grad(nn.Flatten(), x, lambda rows: sample.append(rows.detach()) or rows.sum(1), samples=n)
    inputs = torch.cat(sample).unflatten(0, (n, 2))
    by_hand = (2 * inputs).var(0, unbiased=False).view_as(x)
    got = attribution.var_grad(nn.Flatten(), x, lambda rows: rows.square().sum(1), samples=n)
    torch.testing.assert_close(got, by_hand)


# --- noise, chunks, batches ---


METHODS = {
    "smooth_grad": attribution.smooth_grad,
    "var_grad": attribution.var_grad,
    "integrated_gradients": lambda *a, samples=50, **o: attribution.integrated_gradients(*a, steps=samples, **o),
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


@every_method
def test_the_chunk_changes_no_result_and_bounds_what_goes_through_at_once(method):
    net, x, rows = Tiny(), pictures(5, 16), []
    net.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    expected = method(net, x, None, samples=7, chunk=1000)
    assert max(rows) == 35
    for chunk in (1, 2, 3, 5, 12):
        rows.clear()
        torch.testing.assert_close(method(net, x, None, samples=7, chunk=chunk), expected)
        assert max(rows) == chunk and sum(rows) == 5 + 35


@every_method
@pytest.mark.parametrize("classes", [None, torch.tensor([0, 3, 1, 3])])
def test_a_batch_is_its_pictures_one_by_one(method, classes):
    net, x = Tiny(), pictures(4, 16) * torch.tensor([0.5, 1, 2, 4])[:, None, None, None]
    together = method(net, x, classes, samples=5, chunk=7)
    alone = [method(net, x[i : i + 1], None if classes is None else int(classes[i]), samples=5) for i in range(4)]
    torch.testing.assert_close(together, torch.cat(alone))


@every_method
def test_the_top_class_is_that_of_the_clean_picture(method):
    """This net says class 0 to the picture and class 1 to nearly all that noise or a baseline make of it."""
    net, x = Tiny(), pictures(1, 16)
    net.forward = lambda rows: torch.stack([-(rows - x).square().sum((1, 2, 3)), -(rows * x).mean((1, 2, 3))], 1)
    assert net(x).argmax() == 0 and net(x * 0).argmax() == 1 and net(x + torch.randn_like(x)).argmax() == 1
    result = method(net, x, None, samples=4)
    torch.testing.assert_close(result, method(net, x, 0, samples=4))
    assert not torch.allclose(result, method(net, x, 1, samples=4))


@noisy_methods
def test_noise_comes_from_the_generator_or_a_fresh_one_with_seed_0(method):
    net, x = Tiny(), pictures(2, 16)
    state = torch.random.get_rng_state()
    first, second = method(net, x, 1, samples=3), method(net, x, 1, samples=3)
    assert torch.equal(first, second) and torch.equal(state, torch.random.get_rng_state())
    assert torch.equal(first, method(net, x, 1, samples=3, generator=torch.Generator().manual_seed(0)))
    generator = torch.Generator().manual_seed(1)
    others = [method(net, x, 1, samples=3, generator=generator) for _ in range(2)]
    assert not torch.equal(others[0], first) and not torch.equal(*others)


def test_the_noise_is_a_share_of_each_pictures_own_range():
    """The published slip, a level divided by the range and used as it is, would make it hundreds of times stronger."""
    seen = []
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 255.0]).view(2, 1, 1, 1)
    attribution.smooth_grad(nn.Flatten(), x, lambda rows: seen.append(rows.detach()) or rows.sum(1), samples=20)
    noise = torch.cat(seen).view(20, 2, -1) - x.flatten(1)
    torch.testing.assert_close(noise.std((0, 2)), 0.15 * torch.tensor([1, 255.0]), rtol=0.02, atol=0)
    torch.testing.assert_close(noise[:, 1], 255 * noise[:, 0], rtol=0.01, atol=0.01)  # the same draws for each picture
    assert not torch.allclose(noise[0], noise[1])


@pytest.mark.parametrize("method", [*METHODS.values(), attribution.gradient_x_input], ids=[*METHODS, "product"])
def test_results_are_ordinary_tensors(method):
    net, x = random_net("squeezenet1_1"), pictures(2, 64)
    with torch.inference_mode():
        result = method(net, x.clone(), 7)
    assert not result.is_inference() and not result.requires_grad and result.is_contiguous()


# --- questions that cannot be answered ---


def test_pictures_of_one_value():
    x = torch.stack([pictures(1, 8)[0], torch.full((3, 8, 8), 0.7)])
    for method in (attribution.smooth_grad, attribution.var_grad):
        with pytest.raises(ValueError, match="one value everywhere.*gradient"):
            method(Tiny(), x, 0)
    with pytest.raises(ValueError, match="equals its baseline"):
        attribution.integrated_gradients(Tiny(), x, 0, baseline=0.7)
    with pytest.raises(ValueError, match=r"zero everywhere.*gradient\(\)"):
        attribution.gradient_x_input(Tiny(), x * 0, 0)


@every_method
def test_a_score_that_does_not_react(method):
    net = Tiny()
    nn.init.constant_(net.conv2.bias, -1e6)  # every ReLU off
    with pytest.raises(ValueError, match="gradient is zero everywhere"):
        method(net, pictures(2, 8), 0)
    with pytest.raises(ValueError, match="does not depend on the picture"):
        method(Tiny(), pictures(2, 8), lambda logits: torch.ones(len(logits)))


@pytest.mark.parametrize("chunk", [0, -1, 2.0, True])
@every_method
def test_chunks_that_make_no_sense(method, chunk):
    with pytest.raises(ValueError, match="chunk is"):
        method(Tiny(), pictures(2, 8), 0, chunk=chunk)


@pytest.mark.parametrize("count", [0, -3, 5.0, "7"])
@every_method
def test_counts_that_make_no_sense(method, count):
    with pytest.raises(ValueError, match=f"s(ample|tep)s is {count!r}"):
        method(Tiny(), pictures(2, 8), 0, samples=count)


@noisy_methods
@pytest.mark.parametrize("level", [-0.1, float("nan"), float("inf"), "0.15", True, torch.tensor(0.1)])
def test_levels_that_make_no_sense(method, level):
    with pytest.raises(ValueError, match="level is .*share of the picture's range"):
        method(Tiny(), pictures(2, 8), 0, level=level)


def test_one_gradient_has_no_variance():
    with pytest.raises(ValueError, match="2 or more"):
        attribution.var_grad(Tiny(), pictures(2, 8), 0, samples=1)


@pytest.mark.parametrize(
    ("baseline", "words"),
    [
        (torch.zeros(2, 3, 9, 9), r"shape \[2, 3, 9, 9\].*\[2, 3, 8, 8\]"),
        (torch.zeros(5, 2, 3, 8, 8), r"shape \[5, 2, 3, 8, 8\]"),
        ("black", "a str"),
        (None, "a NoneType"),
        (float("nan"), "NaN"),
        (torch.full((3, 8, 8), torch.inf), "infinite"),
    ],
    ids=["size", "dimensions", "str", "None", "nan", "inf"],
)
def test_baselines_that_do_not_fit(baseline, words):
    with pytest.raises(ValueError, match=f"baseline.*{words}"):
        attribution.integrated_gradients(Tiny(), pictures(2, 8), 0, baseline=baseline)


def test_baselines_that_fit():
    net, x = Tiny(), pictures(2, 8)
    expected = attribution.integrated_gradients(net, x, 0, baseline=1)
    for baseline in (1.0, torch.tensor(1), torch.ones(3, 1, 1), torch.ones(2, 3, 8, 8).double().requires_grad_()):
        torch.testing.assert_close(attribution.integrated_gradients(net, x, 0, baseline=baseline), expected)
    each = torch.tensor([1.0, 2]).view(2, 1, 1, 1)
    alone = attribution.integrated_gradients(net, x[1:], 0, baseline=2.0)
    torch.testing.assert_close(attribution.integrated_gradients(net, x, 0, baseline=each)[1:], alone)


def test_the_generator_is_on_the_cpu():
    elsewhere = type("Generator", (torch.Generator,), {"device": torch.device("cuda")})()
    with pytest.raises(ValueError, match="on cuda"):
        attribution.smooth_grad(Tiny(), pictures(2, 8), 0, generator=elsewhere)


# --- GradientSHAP ---


def test_gradient_shap_is_its_formula():
    net, x, baselines = Tiny().eval(), pictures(2), pictures(3, seed=5)
    seen = []
    net.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach().clone()))
    found = attribution.gradient_shap(net, x, 1, baselines=baselines, samples=6, chunk=2)
    total, used = torch.zeros_like(x), []
    for pair in seen[1:]:  # the first pass is for the class
        # where on which line: pair = b + alpha (x - b) for both pictures
        fits = []
        for b in baselines:
            alpha = ((pair - b) * (x - b)).sum() / (x - b).square().sum()
            fits.append(((pair - b - alpha * (x - b)).abs().max().item(), alpha.item(), b))
        miss, alpha, b = min(fits, key=lambda fit: fit[0])
        assert miss < 1e-5
        used.append((alpha, int(next(i for i in range(3) if baselines[i] is b or torch.equal(baselines[i], b)))))
        total += (x - b) * attribution.gradient(net, pair, 1) / 6
    torch.testing.assert_close(found, total)
    assert sorted(int(alpha * 6) for alpha, _ in used) == list(range(6))  # one in each sixth of the line
    assert sorted(number for _, number in used) == [0, 0, 1, 1, 2, 2]  # each baseline equally often


def test_gradient_shap_adds_up_to_the_rise_over_the_mean_baseline():
    net, x, baselines = Tiny().eval(), pictures(2), pictures(5, seed=5)
    found = attribution.gradient_shap(net, x, 1, baselines=baselines, samples=2000).flatten(1).sum(1)
    with torch.no_grad():
        expected = net(x)[:, 1] - net(baselines)[:, 1].mean()
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.01)


def test_gradient_shap_with_one_baseline_is_near_integrated_gradients():
    net, x = Tiny().eval(), pictures(2)
    expected = attribution.integrated_gradients(net, x, 1, baseline=0.3, steps=200)
    found = attribution.gradient_shap(net, x, 1, baselines=0.3, samples=400)
    assert (found - expected).norm() < 0.05 * expected.norm()


def test_gradient_shap_is_captums_on_average():
    captum = pytest.importorskip("captum.attr")
    net, x, baselines = Tiny().eval(), pictures(1), pictures(4, seed=5)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - captum draws from it
    theirs = captum.GradientShap(net).attribute(x, baselines=baselines, n_samples=1000, stdevs=0.0, target=1)
    found = attribution.gradient_shap(net, x, 1, baselines=baselines, samples=1000)
    assert (found - theirs).norm() < 0.1 * theirs.norm()


def test_baselines_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"baselines have shape \[5, 3, 32, 32\]; give \[B, 3, 64, 64\]"):
        attribution.gradient_shap(Tiny(), pictures(1), 1, baselines=torch.zeros(5, 3, 32, 32))
    with pytest.raises(ValueError, match=r"baselines have shape \[0, 3, 64, 64\]"):
        attribution.gradient_shap(Tiny(), pictures(1), 1, baselines=torch.zeros(0, 3, 64, 64))
