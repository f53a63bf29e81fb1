"""Every method on texts [N, C, L]: against captum, torchcam and zennit, identities, and the picture one line high."""

import copy
from contextlib import ExitStack

import pytest
import torch
import torch.nn.functional as F
from test_agreement import assert_agree
from torch import nn

from helpers import attribution, evaluation
from helpers.attribution._common import check_pictures
from helpers.attribution._speed import folded
from helpers.hooks import capture, run_to, split_at
from nets import RELU_STYLES, Tiny, pictures
from test_contract import METHODS, OF_A_LAYER, assert_same, state

CLASSES = torch.tensor([0, 3, 1])
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def texts(count=3, length=20, seed=1):
    """Three texts, or more, of word vectors with six numbers, float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 6, length, generator=generator, dtype=torch.float64)


class Words(Tiny):
    """Tiny over words: Conv1d, on request BatchNorm1d, ReLUs as ``style`` says, a mean over words, linear; float64."""

    def __init__(self, style="module", norm=False, bias=True):
        super().__init__(style)
        self.conv1 = nn.Conv1d(6, 8, 5, padding=2, bias=bias)
        self.norm = nn.BatchNorm1d(8) if norm else nn.Identity()
        self.conv2 = nn.Conv1d(8, 10, 3, padding=1, bias=bias)
        self.fc = nn.Linear(10, 5, bias=bias)
        if bias:
            nn.init.uniform_(self.fc.bias, 0.5, 1.0)  # positive scores, which Ablation-CAM asks for
        if norm:
            for uneven in (self.norm.running_mean, self.norm.bias, self.norm.weight):
                nn.init.normal_(uneven)
            nn.init.uniform_(self.norm.running_var, 0.5, 1.5)
        self.double().eval()

    def maps(self, x):
        """What is averaged."""
        return self.relu(self.conv2(self.relu(self.norm(self.conv1(x)))), second=True)

    def forward(self, x):
        return self.fc(self.drop(self.maps(x).flatten(2).mean(2)))


class Kim(nn.Module):
    """Kernels of three widths side by side, the highest value of each over the words, linear (Kim, 2014)."""

    def __init__(self, bias=True, pool="amax"):
        super().__init__()
        torch.manual_seed(3)
        self.convs = nn.ModuleList(nn.Conv1d(6, 4, k, bias=bias) for k in (2, 3, 4))
        self.pool, self.drop, self.fc = pool, nn.Dropout(0.5), nn.Linear(12, 5, bias=bias)
        self.double().eval()

    def forward(self, x):
        highest = {"amax": lambda a: a.amax(2), "max": lambda a: a.max(2).values,
                   "pool": lambda a: F.max_pool1d(a, a.shape[2]).squeeze(2),
                   "adaptive": lambda a: F.adaptive_max_pool1d(a, 1)[:, :, 0]}[self.pool]  # fmt: skip
        return self.fc(self.drop(torch.cat([highest(F.relu(conv(x))) for conv in self.convs], 1)))


NETS = {
    "plain": Words,
    "functional": lambda: Words("functional"),
    "in-place": lambda: Words("in-place"),
    "norm": lambda: Words(norm=True),
    "norm, in-place": lambda: Words("method", norm=True),
}
every_net = pytest.mark.parametrize("net", [make() for make in NETS.values()], ids=NETS)


def for_libraries(net):
    """A copy without in-place ReLUs, which libraries cannot bear; ours is run on the original."""
    net = copy.deepcopy(net)
    net.style, net.act.inplace = "module", False
    return net


def logit(net, x, target=CLASSES):
    return net(x).gather(1, torch.as_tensor(target).expand(len(x))[:, None])[:, 0].detach()


# --- a text is a picture one line high ---


def one_line_high(net):
    """The same net over pictures of one line."""
    net = copy.deepcopy(net)
    for name, module in list(net.named_modules()):
        if isinstance(module, nn.Conv1d):
            flat = nn.Conv2d(
                module.in_channels, module.out_channels, (1, *module.kernel_size), padding=(0, *module.padding)
            )
            flat.load_state_dict({key: w[:, :, None] if w.dim() == 3 else w for key, w in module.state_dict().items()})
            net.set_submodule(name, flat.double())
        if isinstance(module, nn.BatchNorm1d):
            flat = nn.BatchNorm2d(module.num_features)
            flat.load_state_dict(module.state_dict())
            net.set_submodule(name, flat.double())
    return net.eval()


@every_net
def test_every_method_gives_what_it_gives_for_a_picture_one_line_high(net):
    flat, x = one_line_high(net), texts()
    options = {  # where the two are asked differently; RISE draws other masks and has tests of its own
        "rise": None,
        "occlusion": ({"patch": 5, "stride": 3, "baseline": 0.3}, {"patch": (1, 5), "stride": (1, 3), "baseline": 0.3}),
        "integrated_gradients": ({"baseline": x[:, :, :1] * 0.5}, {"baseline": x[:, :, None, :1] * 0.5}),
    }
    aligned = {"layer": "conv2", "align_corners": True}
    more = {f"score_cam, {key}": (aligned, aligned) for key in ["aligned"]}
    more |= {f"lrp, {rule}": ({"rule": rule}, {"rule": rule}) for rule in ("gamma", "alpha_beta")}
    box = {"first": "z_box", "bounds": (-5.0, 5.0), "layer": None}
    more["lrp, z_box"] = (box, box)
    for name, method in METHODS.items():
        if name not in options:
            got, expected = method(net, x, CLASSES), method(flat, x[:, :, None], CLASSES)
            torch.testing.assert_close(got, expected.squeeze(-2), msg=name)
            assert got.shape[-1] == 20 and got.dim() == expected.dim() - 1
    for name, pair in (options | more).items():
        if pair is not None:
            method = getattr(attribution, name.split(",")[0])
            got, expected = method(net, x, CLASSES, **pair[0]), method(flat, x[:, :, None], CLASSES, **pair[1])
            torch.testing.assert_close(got, expected.squeeze(-2), msg=name)
    both = [
        attribution.gradient_cams(n, t, CLASSES, layer="conv2", relu=False)
        for n, t in ((net, x), (flat, x[:, :, None]))
    ]
    for name, got in both[0].items():
        torch.testing.assert_close(got, both[1][name].squeeze(1))
        assert got.shape == (3, 20)


def test_a_pooled_layer_gives_shorter_maps_that_upsample_enlarges():
    class Pooled(Words):
        def maps(self, x):
            return super().maps(F.max_pool1d(x, 2) if x.dim() == 3 else F.max_pool2d(x, (1, 2)))

    net, x = Pooled(), texts()
    flat = one_line_high(net)
    for name in ("grad_cam", "score_cam", "eigen_cam", "ablation_cam"):
        maps = getattr(attribution, name)(net, x, CLASSES, layer="conv2")
        assert maps.shape == (3, 10)
        expected = getattr(attribution, name)(flat, x[:, :, None], CLASSES, layer="conv2")
        torch.testing.assert_close(maps, expected[:, 0])
        up = attribution.upsample(maps, 20)
        torch.testing.assert_close(up, attribution.upsample(expected, (1, 20))[:, 0])
        torch.testing.assert_close(up, attribution.upsample(maps, (20,)), rtol=0, atol=0)
    guided = attribution.guided_grad_cam(net, x, CLASSES, layer="conv2")
    torch.testing.assert_close(
        guided, attribution.guided_grad_cam(flat, x[:, :, None], CLASSES, layer="conv2")[:, :, 0]
    )
    torch.testing.assert_close(
        attribution.full_grad(net, x, CLASSES), attribution.full_grad(flat, x[:, :, None], CLASSES)[:, 0]
    )


# --- against libraries ---


@every_net
def test_gradients_are_captums(net):
    captum, x = pytest.importorskip("captum.attr"), texts()
    plain = for_libraries(net)
    got = attribution.gradient(net, x, CLASSES)
    assert_agree(got, captum.Saliency(plain).attribute(x.clone().requires_grad_(), CLASSES, abs=False))
    got = attribution.gradient_x_input(net, x, CLASSES)
    assert_agree(got, captum.InputXGradient(plain).attribute(x.clone().requires_grad_(), CLASSES))
    options = {"target": CLASSES, "n_steps": 12, "method": "gausslegendre"}
    for ours, theirs in ((0.0, 0.0), (texts(4)[3], texts(4)[3:]), (texts(6)[3:], texts(6)[3:])):
        got = attribution.integrated_gradients(net, x, CLASSES, steps=12, baseline=ours)
        assert_agree(got, captum.IntegratedGradients(plain).attribute(x, theirs, **options))


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("method, theirs", [("guided_backprop", "GuidedBackprop"), ("deconvnet", "Deconvolution")])
def test_modified_relus_are_captums_where_they_are_modules(norm, method, theirs):
    captum, net, x = pytest.importorskip("captum.attr"), Words(norm=norm), texts()
    expected = getattr(captum, theirs)(copy.deepcopy(net)).attribute(x.clone().requires_grad_(), CLASSES)
    assert_agree(getattr(attribution, method)(net, x, CLASSES), expected)
    assert not torch.allclose(expected, attribution.gradient(net, x, CLASSES))
    for style in RELU_STYLES:  # which captum does not see
        torch.testing.assert_close(getattr(attribution, method)(Words(style, norm), x, CLASSES), expected.detach())


@every_net
def test_grad_cam_and_occlusion_are_captums(net):
    captum, x = pytest.importorskip("captum.attr"), texts()
    plain = for_libraries(net)
    expected = captum.LayerGradCam(plain, plain.conv2).attribute(x, CLASSES)[:, 0]
    assert_agree(attribution.grad_cam(net, x, CLASSES, layer="conv2", relu=False), expected)
    for patch, stride in ((1, 1), (5, 3), (7, 7), (20, 1)):
        expected = captum.Occlusion(plain).attribute(x, (6, patch), (6, stride), target=CLASSES, baselines=0.3)
        got = attribution.occlusion(net, x, CLASSES, patch=patch, stride=stride, baseline=0.3)
        assert got.shape == (3, 20)
        assert_agree(got, expected[:, 0].to(got))


@every_net
def test_cams_are_torchcams(net):
    methods, x = pytest.importorskip("torchcam.methods"), texts()
    plain = for_libraries(net)
    kinds = {"grad_cam": methods.GradCAM, "layer_cam": methods.LayerCAM, "xgrad_cam": methods.XGradCAM}
    with ExitStack() as stack:
        theirs = {name: stack.enter_context(kind(plain, "conv2")) for name, kind in kinds.items()}
        logits = plain(x)
        for name, extractor in theirs.items():
            (expected,) = extractor(CLASSES.tolist(), logits, normalized=False, retain_graph=True)
            assert_agree(getattr(attribution, name)(net, x, CLASSES, layer="conv2"), expected)


@pytest.mark.parametrize("rule", ["epsilon", "gamma", "alpha_beta"])
@pytest.mark.parametrize("norm", [False, True])
def test_lrp_is_zennits(rule, norm):
    pytest.importorskip("zennit")
    import zennit.rules
    import zennit.types as kinds
    from zennit.attribution import Gradient
    from zennit.canonizers import SequentialMergeBatchNorm
    from zennit.composites import LayerMapComposite

    torch.manual_seed(0)
    parts = [nn.Conv1d(6, 8, 5, padding=2), nn.BatchNorm1d(8) if norm else nn.Identity(), nn.ReLU(), nn.MaxPool1d(2)]
    net = nn.Sequential(*parts, nn.Conv1d(8, 7, 3), nn.ReLU(), nn.AvgPool1d(2), nn.Flatten(), nn.Linear(28, 5))
    if norm:
        nn.init.normal_(net[1].running_mean)
        nn.init.normal_(net[1].bias)
        net[1].eps = 0.0  # a BatchNorm that zennit has merged divides by sqrt(1 + eps)
    net, x = net.double().eval(), texts()
    rules = {
        "epsilon": zennit.rules.Epsilon(1e-9),
        "gamma": zennit.rules.Gamma(0.25, stabilizer=1e-9),
        "alpha_beta": zennit.rules.AlphaBeta(2, 1, stabilizer=1e-9),
    }
    layers = [(kinds.Convolution, rules[rule]), (kinds.Linear, rules[rule]), (kinds.Activation, zennit.rules.Pass())]
    layers += [(kinds.AvgPool, zennit.rules.Norm(stabilizer=1e-9))]
    composite = LayerMapComposite(layers, canonizers=[SequentialMergeBatchNorm()])
    ours = attribution.lrp(net, x, CLASSES, rule=rule, epsilon=1e-9)
    with Gradient(copy.deepcopy(net), composite) as attributor:
        expected = attributor(x.clone(), F.one_hot(CLASSES, 5) * net(x).detach())[1]
    assert_agree(ours, expected)


# --- identities ---


@every_net
def test_cam_is_the_logit_spread_out(net):
    x = texts()
    cam = attribution.cam(net, x, CLASSES, layer="conv2")
    torch.testing.assert_close(cam.mean(1) + net.fc.bias[CLASSES], logit(net, x))
    torch.testing.assert_close(cam, torch.einsum("nk,nkl->nl", net.fc.weight[CLASSES], net.maps(x)).detach())
    with pytest.raises(ValueError, match="no class activation map at this layer.*grad_cam"):
        attribution.cam(net, x, CLASSES, layer="conv1")
    with pytest.raises(ValueError, match="no class activation map at this layer"):
        attribution.cam(Kim(), x, CLASSES, layer="convs.0")  # a maximum is no average


def test_cam_of_a_convolutional_head_is_its_output():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(6, 8, 3), nn.ReLU(), nn.Conv1d(8, 5, 1), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    net, x = net.double(), texts()
    cam = attribution.cam(net, x, CLASSES, layer="0")
    torch.testing.assert_close(cam, net[:3](x)[range(3), CLASSES].detach())
    torch.testing.assert_close(cam.mean(1), logit(net, x))


@pytest.mark.parametrize("norm", [False, True])
def test_gradient_cams_on_a_mean_over_words(norm):
    net, x = Words(norm=norm), texts()
    cam, options = attribution.cam(net, x, CLASSES, layer="act2"), {"layer": "act2", "relu": False}
    torch.testing.assert_close(20 * attribution.grad_cam(net, x, CLASSES, **options), cam)
    for name in ("grad_cam", "hires_cam", "xgrad_cam"):
        signed = getattr(attribution, name)(net, x, CLASSES, **options)
        torch.testing.assert_close(signed.sum(1) + net.fc.bias[CLASSES], logit(net, x))
        cut_off = getattr(attribution, name)(net, x, CLASSES, layer="act2")
        torch.testing.assert_close(cut_off, signed.relu(), rtol=0, atol=0)


def test_hires_cam_is_complete_and_xgrad_cam_with_it_where_words_are_not_averaged():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(6, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(160, 5)).double()
    for name in ("hires_cam", "xgrad_cam"):
        signed = getattr(attribution, name)(net, texts(), CLASSES, layer="1", relu=False)
        torch.testing.assert_close(signed.sum(1) + net[3].bias[CLASSES], logit(net, texts()))
    grad_cam = attribution.grad_cam(net, texts(), CLASSES, layer="1", relu=False)
    assert not torch.allclose(grad_cam.sum(1) + net[3].bias[CLASSES], logit(net, texts()), rtol=0.01)


@every_net
def test_integrated_gradients_are_complete(net):
    x, word, text = texts(), texts(4)[3, :, :1], texts(4)[3]
    for baseline in (0.0, word, text, texts(6)[3:]):
        got = attribution.integrated_gradients(net, x, CLASSES, baseline=baseline, steps=400)
        due = logit(net, x) - logit(net, (x * 0 + baseline))
        torch.testing.assert_close(got.sum((1, 2)), due, rtol=1e-3, atol=1e-3)


@every_net
def test_noise_of_strength_zero_and_noise_by_hand(net):
    x = texts() * torch.tensor([0.5, 1, 2]).view(3, 1, 1)
    slope = attribution.gradient(net, x, CLASSES)
    torch.testing.assert_close(attribution.smooth_grad(net, x, CLASSES, level=0, samples=3), slope)
    assert attribution.var_grad(net, x, CLASSES, level=0, samples=3).max() < 1e-20
    generator = torch.Generator().manual_seed(0)
    strength = 0.1 * (x.amax((1, 2)) - x.amin((1, 2))).view(3, 1, 1)
    noise = [torch.randn(6, 20, generator=generator).double() for _ in range(4)]
    slopes = torch.stack([attribution.gradient(net, x + strength * one, CLASSES) for one in noise])
    options = {"level": 0.1, "samples": 4, "chunk": 5}
    torch.testing.assert_close(attribution.smooth_grad(net, x, CLASSES, **options), slopes.mean(0))
    torch.testing.assert_close(attribution.var_grad(net, x, CLASSES, **options), slopes.var(0, unbiased=False))


@pytest.mark.parametrize("make", [lambda: Words(bias=False), lambda: Kim(bias=False)], ids=["mean", "maximum"])
def test_without_biases_gradient_x_input_is_the_logit_and_ig_and_lrp_are_the_same(make):
    net, x = make(), texts()
    product = attribution.gradient_x_input(net, x, CLASSES)
    torch.testing.assert_close(product.sum((1, 2)), logit(net, x))
    torch.testing.assert_close(attribution.lrp(net, x, CLASSES, epsilon=1e-14), product)
    torch.testing.assert_close(attribution.integrated_gradients(net, x, CLASSES, steps=3), product)
    for options in ({"rule": "gamma"}, {"rule": "alpha_beta"}):
        kept = attribution.lrp(net, x, CLASSES, epsilon=1e-12, **options)
        torch.testing.assert_close(kept.sum((1, 2)), logit(net, x), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("pool", ["max", "pool", "adaptive"])
def test_lrp_knows_every_way_to_write_the_highest_value(pool):
    x = texts()
    expected = attribution.lrp(Kim(), x, CLASSES)
    torch.testing.assert_close(attribution.lrp(Kim(pool=pool), x, CLASSES), expected)


def test_lrp_counts_batch_norm_as_part_of_its_convolution():
    net, x = Words(norm=True), texts().clamp(-4, 4)
    merged = copy.deepcopy(net)
    merged.conv1, merged.norm = nn.utils.fuse_conv_bn_eval(net.conv1, net.norm), nn.Identity()
    box = {"rule": "gamma", "first": "z_box", "bounds": (torch.full((6, 1), -4.0), 4.0)}
    for options in ({}, {"rule": "gamma"}, {"rule": "alpha_beta"}, box):
        expected = attribution.lrp(merged, x, CLASSES, **options)
        torch.testing.assert_close(attribution.lrp(net, x, CLASSES, **options), expected)


@every_net
def test_full_gradients_add_up_to_the_logit(net):
    x = texts()
    of_input, of_biases = attribution.full_gradients(net, x, CLASSES)
    due = of_input.sum((1, 2)) + sum(part.flatten(1).sum(1) for part in of_biases.values())
    torch.testing.assert_close(due, logit(net, x))
    heat = of_input.abs().sum(1) + sum(part.abs().sum(1) for part in of_biases.values() if part.dim() == 3)
    torch.testing.assert_close(attribution.full_grad(net, x, CLASSES), heat)


def test_full_grad_keeps_the_total_of_coarse_maps():
    net, x = nn.Sequential(nn.MaxPool1d(2), Words(norm=True)), texts()
    of_input, of_biases = attribution.full_gradients(net, x, CLASSES)
    parts = [of_input, *(part for part in of_biases.values() if part.dim() == 3)]
    assert {part.shape[2] for part in parts} == {20, 10}
    due = sum(part.abs().sum((1, 2)) for part in parts)
    torch.testing.assert_close(attribution.full_grad(net, x, CLASSES).sum(1), due)


@every_net
def test_grad_cam_plus_plus_and_layer_cam_are_their_formulas(net):
    x = texts()
    with capture(net.conv1) as maps:
        logits = net(x)
    A, G = maps.activations.detach(), maps.gradient(logits[range(3), CLASSES])
    alpha = torch.where(G == 0, 0, G**2 / (2 * G**2 + A.sum(2, keepdim=True) * G**3))
    alpha = torch.where(G > 0, alpha, 0)
    expected = torch.einsum("nk,nkl->nl", (alpha * G.relu()).sum(2), A).relu()
    torch.testing.assert_close(attribution.grad_cam_plus_plus(net, x, CLASSES, layer="conv1"), expected)
    torch.testing.assert_close(attribution.layer_cam(net, x, CLASSES, layer="conv1"), (G.relu() * A).sum(1).relu())


@every_net
def test_ablation_cam_is_brute_force_and_its_closed_form(net):
    x = texts()
    y, weight, A = logit(net, x), net.fc.weight[CLASSES].detach(), net.maps(x).detach()
    got = attribution.ablation_cam(net, x, CLASSES, layer="conv2", relu=False)
    with capture(net.conv2) as maps, torch.no_grad():
        net(x)
        weights = []
        for k in range(10):
            changed = maps.activations.clone()
            changed[:, k] = 0
            weights.append((y - net.fc(changed.relu().mean(2))[range(3), CLASSES]) / y)
        expected = torch.einsum("kn,nkl->nl", torch.stack(weights), maps.activations)
    torch.testing.assert_close(got, expected)
    if net.style == "module":
        closed = torch.einsum("nk,nkl->nl", weight * A.mean(2) / y[:, None], A)
        torch.testing.assert_close(attribution.ablation_cam(net, x, CLASSES, layer="act2", relu=False), closed)


@every_net
def test_score_cam_by_hand(net):
    x = texts(1)
    A = net.conv1(x).detach()[0]
    masks = (A - A.amin(1, keepdim=True)) / (A.amax(1, keepdim=True) - A.amin(1, keepdim=True))
    scores = torch.stack([logit(net, x * mask, 2)[0] for mask in masks])
    expected = torch.einsum("k,kl->l", scores.softmax(0), A).relu()[None]
    torch.testing.assert_close(attribution.score_cam(net, x, 2, layer="conv1"), expected)


def test_eigen_cam_is_the_singular_vector():
    net, x = Words(), texts()
    A = net.conv1(x).detach()
    centred = A - A.mean(2, keepdim=True)
    u, s, v = torch.linalg.svd(centred, full_matrices=False)
    got = attribution.eigen_cam(net, x, layer="conv1")
    torch.testing.assert_close(got.abs(), (s[:, :1] * v[:, 0]).abs())
    assert ((got * centred.sum(1)).sum(1) > 0).all()


class Linear(nn.Module):
    """Logits that are one linear map of the texts [6, 20]; keeps what it saw, and says by a Conv1d what it takes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.w, self.unused, self.seen = nn.Parameter(torch.randn(5, 6, 20).double()), nn.Conv1d(6, 1, 1), []

    def forward(self, x):
        self.seen.append(x.detach().clone())
        return torch.einsum("ncl,kcl->nk", x, self.w) + 5


@pytest.mark.parametrize("baseline", [-0.4, texts(4)[3, :, :1], texts(4)[3], texts(6)[3:]],
                         ids=["number", "word", "text", "texts"])  # fmt: skip
def test_a_word_covered_on_a_linear_net_is_weight_times_difference(baseline):
    net, x = Linear(), texts()
    got = attribution.occlusion(net, x, CLASSES, patch=1, baseline=baseline)
    torch.testing.assert_close(got, ((x - baseline) * net.w[CLASSES]).sum(1).detach())


def test_occluded_logits_are_those_of_covered_texts():
    net, x = Words(), texts()
    logits = attribution.occluded_logits(net, x, patch=6, stride=4, baseline=1.0)
    assert logits.shape == (3, 5, 5)  # at words 0, 4, 8, 12 and 16, where it hangs over the end
    for place, start in enumerate((0, 4, 8, 12, 16)):
        covered = x.clone()
        covered[:, :, start : start + 6] = 1.0
        torch.testing.assert_close(logits[:, place], net(covered).detach())
    torch.testing.assert_close(attribution.occluded_logits(net, x, patch=(6,), stride=(4,), baseline=1.0), logits)


@pytest.mark.parametrize("centred", [False, True])
def test_rise_is_its_formula(centred):
    net, x = Linear(), texts()
    options = {"samples": 50, "cells": 4, "keep": 0.3, "centred": centred}
    attribution.rise(net, torch.ones_like(x[:1]), 0, **options)
    masks = torch.cat(net.seen[1:])  # ones seen through the masks: all six numbers of a word alike
    assert masks.shape == (50, 6, 20) and (masks == masks[:, :1]).all() and masks.min() >= 0 and masks.max() <= 1
    assert 0.1 < (masks[:, 0].diff(dim=1).abs() < 1e-9).double().mean() < 0.9  # soft edges between cells of five words
    masks = masks[:, 0]
    scores = torch.stack([logit(net, x * mask) for mask in masks])
    if centred:
        expected = (scores - scores.mean(0)).T @ (masks - 0.3) / (50 * 0.3 * 0.7 * 2 / 3)  # soft edges in one direction
    else:
        expected = scores.T @ masks / (50 * 0.3)
    torch.testing.assert_close(attribution.rise(net, x, CLASSES, **options), expected)


def test_centred_rise_finds_the_word():
    net = Linear()
    with torch.no_grad():
        net.w.zero_()[:, :, 13] = 1.0
    heat = attribution.rise(net, texts()[:1].abs(), 0, samples=1000, cells=10)
    assert heat[0].argmax() in (12, 13, 14)


# --- the contract ---


@every_method
def test_nothing_is_left_behind(method):
    net, x = Words(norm=True).train(), texts().requires_grad_()
    net.norm.eval()
    net.conv1.requires_grad_(False)
    before, kept = state(net), x.detach().clone()
    result = method(net, x, 2)
    assert_same(before, state(net))
    assert x.grad is None and torch.equal(x, kept) and not result.requires_grad
    for target in (99, "cat", lambda logits: 1 / 0):
        with pytest.raises((ValueError, TypeError, ZeroDivisionError)):
            method(net, x, target)
        assert_same(before, state(net))
    assert torch.is_grad_enabled()


@every_method
def test_the_same_however_model_and_caller_come(method):
    x = texts()
    expected = method(Words(norm=True), x, 1)
    with torch.no_grad():
        torch.testing.assert_close(method(Words(norm=True).train().requires_grad_(False), x, 1), expected)
    net = Words(norm=True)
    with torch.inference_mode():
        inside = method(net, x.clone(), 1)
    torch.testing.assert_close(inside.clone(), expected)
    torch.testing.assert_close(method(Words(norm=True).float(), x.float(), 1).double(), expected, rtol=1e-3, atol=1e-5)
    for style in RELU_STYLES:
        torch.testing.assert_close(method(Words(style, norm=True), x, 1), expected)


@every_method
def test_a_batch_is_its_texts_one_by_one_and_targets_are_as_for_pictures(method):
    net, x = Words(), texts()
    together = method(net, x, CLASSES)
    torch.testing.assert_close(together, torch.cat([method(net, x[i : i + 1], int(CLASSES[i])) for i in range(3)]))
    torch.testing.assert_close(method(net, x), method(net, x, net(x).argmax(1)))
    torch.testing.assert_close(method(net, x, 2), method(net, x, lambda logits: logits[:, 2]))


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_on_an_accelerator(device):
    if not getattr(torch, device if device == "cuda" else "mps").is_available():
        pytest.skip(f"no {device} on this machine")
    for method in METHODS.values():
        net, x = Words(norm=True).float(), texts().float()
        got = method(copy.deepcopy(net).to(device), x.to(device), 1)
        torch.testing.assert_close(got.cpu(), method(net, x, 1), rtol=1e-3, atol=1e-5)


@every_method
@pytest.mark.parametrize(
    ("x", "error", "cure"),
    [
        (texts()[0], ValueError, r"The texts have shape \[6, 20\]; give \[N, C, L\], one text as x\[None\]"),
        (texts()[:, :, None], ValueError, r"give \[N, C, L\], one text as x\[None\]"),
        (texts(3, 20).mT.repeat(1, 1, 2), ValueError, "20 numbers a word, Words takes 6; give .* each word a column"),
        (torch.zeros(3, 20, dtype=torch.long), TypeError, "The texts are torch.int64; look up each word's vector"),
        (texts() * torch.nan, ValueError, "Text 0 of the batch holds NaN"),
        (texts()[:0], ValueError, "at least one text"),
        ([[0.0]], TypeError, "The texts must be a tensor"),
    ],
    ids=["2-d", "4-d", "transposed", "word numbers", "nan", "empty", "list"],
)
def test_texts_that_cannot_be_explained(method, x, error, cure):
    with pytest.raises(error, match=cure):
        method(Words(), x, 0)


@pytest.mark.parametrize("name", OF_A_LAYER)
def test_layers_that_cannot_be_explained(name):
    with pytest.raises(ValueError, match=r"maps"):
        getattr(attribution, name)(Words(), texts(), 0, layer="drop")
    if name != "cam":
        with pytest.raises(ValueError, match=r"not maps \[N, K, l\]: choose a convolutional layer"):
            getattr(attribution, name)(Words(), texts(), 0, layer="fc")


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        ({"patch": 21}, r"patch \(21,\) is larger than the text, \(20,\)"),
        ({"patch": (2, 2)}, r"patch is \(2, 2\); give how many words, 1 or more"),
        ({"patch": 2, "stride": 3}, "leaves gaps"),
        ({"patch": 2, "baseline": torch.zeros(6)}, r"does not fit texts \[3, 6, 20\]: give a number, a word \[6, 1\], "
                                                    r"a text \[6, 20\], or one for each"),
        ({"patch": 2, "baseline": torch.zeros(20)}, "does not fit texts"),
        ({"patch": 2, "baseline": torch.zeros(6, 1, 1)}, "does not fit texts"),
    ],
)  # fmt: skip
def test_occlusion_that_cannot_be_done(options, cure):
    for method in (attribution.occlusion, attribution.occluded_logits):
        with pytest.raises(ValueError, match=cure):
            method(Words(), texts(), **options)


def test_other_questions_that_cannot_be_answered_say_text():
    net, x = Words(), texts()
    nn.init.constant_(net.conv2.bias, -1e6)  # every ReLU off
    with pytest.raises(ValueError, match="small changes of the text"):
        attribution.gradient(net, x, 0)
    with pytest.raises(ValueError, match="does not depend on the text"):
        attribution.gradient(Words(), x, lambda logits: torch.ones(len(logits)))
    with pytest.raises(ValueError, match="Text 0 of the batch is zero everywhere"):
        attribution.gradient_x_input(Words(), x * 0, 0)
    with pytest.raises(ValueError, match="Text 0 of the batch has one value everywhere"):
        attribution.smooth_grad(Words(), x * 0, 0)
    with pytest.raises(ValueError, match="Text 1 of the batch equals its baseline"):
        attribution.integrated_gradients(Words(), x, 0, baseline=x[1])
    with pytest.raises(ValueError, match="one row of logits for each text"):
        attribution.gradient(nn.Conv1d(6, 2, 3).double(), x, 0)
    with pytest.raises(ValueError, match="outside of the bounds"):
        attribution.lrp(Words(), x, first="z_box", bounds=(0, 1))


def test_the_first_convolution_says_what_a_network_takes():
    """Not any: nets of pictures have Conv1d inside, too, and a picture without its batch stays an error."""
    x = pictures(2, 8)
    inside = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(2), nn.Conv1d(4, 5, 1), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    assert attribution.gradient(inside, x, 0).shape == x.shape
    for net in (inside, Tiny(), nn.Sequential(nn.Flatten(), nn.Linear(192, 5)), None):
        with pytest.raises(ValueError, match=r"give \[N, C, H, W\], one picture as x\[None\]"):
            check_pictures(x[0], net)
        assert torch.equal(check_pictures(x, net), x)
    with pytest.raises(ValueError, match=r"one picture as x\[None\]"):
        check_pictures(texts())
    with pytest.raises(ValueError, match=r"not maps \[N, K, h, w\]"):
        attribution.grad_cam(inside, x, 0, layer="2")  # its maps are in one direction, the pictures in two


# --- hooks, folding, maps ---


@pytest.mark.parametrize("name", ["conv1", "norm", "conv2"])
def test_capture_run_to_and_split_at(name):
    net, x = Words("method", norm=True), texts()
    with capture(net.get_submodule(name)) as maps:
        logits = net(x)
    with run_to(net, name) as run:
        torch.testing.assert_close(run(x), maps.activations)
    assert maps.gradient(logits[:, 2]).shape == maps.activations.shape == (3, 10 if name == "conv2" else 8, 20)
    for follow in (True, False):
        trunk, head = split_at(net, name, follow=follow)
        torch.testing.assert_close(head(*trunk(x)), logits)
        torch.testing.assert_close(trunk(x)[0], maps.activations)
        assert (trunk.carries == 0) == follow


def test_layers_side_by_side():
    """What by-passes the layer is carried; its maps are shorter than the text by the kernel."""
    net, x = Kim(), texts()
    nn.init.constant_(net.fc.bias, 2.0)
    for name in ("grad_cam", "hires_cam", "score_cam", "ablation_cam", "eigen_cam"):
        assert getattr(attribution, name)(net, x, CLASSES, layer="convs.1").shape == (3, 18)
    assert split_at(net, "convs.1")[0].carries > 0
    got = attribution.ablation_cam(net, x, CLASSES, layer="convs.1", relu=False)
    y, A = logit(net, x), net.convs[1](x).detach()
    lost = net.fc.weight[CLASSES, 4:8].detach() * A.relu().amax(2) / y[:, None]
    torch.testing.assert_close(got, torch.einsum("nk,nkl->nl", lost, A))
    heat = attribution.full_grad(net, x, CLASSES)
    assert heat.shape == (3, 20) and (heat >= 0).all()


def test_batch_norm_is_folded_into_conv1d():
    net, x = Words(norm=True).requires_grad_(False), texts()
    light = folded(net, x, net(x))
    assert light is not net and isinstance(light.norm, nn.Identity)
    torch.testing.assert_close(light(x), net(x))


def test_maps_of_words():
    a = torch.tensor([[[1.0, -4.0], [-3.0, 2.0]]])
    assert attribution.pixel_map(a).tolist() == [[3, 4]]
    assert attribution.pixel_map(a, "sum").tolist() == [[-2, -2]]
    assert attribution.pixel_map(a, "sum_abs").tolist() == [[4, 6]]
    for size in (4, (4,), torch.Size([4])):
        up = attribution.upsample(torch.tensor([[0.0, 1.0]]), size)
        torch.testing.assert_close(up, torch.tensor([[0, 0.25, 0.75, 1]]))
    ends = attribution.upsample(torch.tensor([[0.0, 3.0]]), 4, align_corners=True)
    torch.testing.assert_close(ends, torch.tensor([[0.0, 1, 2, 3]]))
    for maps, size in ((a, (4,)), (a[0], (4, 4)), (a[0, 0], 4), (a[None], 4)):
        with pytest.raises(ValueError, match=r"\[N, h, w\] and \(H, W\), or \[N, l\] and \(L,\), one map as m\[None\]"):
            attribution.upsample(maps, size)


# --- grades ---


def word_maps(count=4, length=15, seed=3):
    return torch.randn(count, length, generator=torch.Generator().manual_seed(seed))


def test_grades_of_word_maps_are_those_of_pictures_one_line_high():
    values, inside = word_maps().mul(2).round(), word_maps(seed=4) > 0
    for grade in (evaluation.mass_accuracy, evaluation.rank_accuracy, evaluation.pointing):
        expected = grade(values[:, None], inside[:, None])
        torch.testing.assert_close(grade(values, inside), expected, rtol=0, atol=0)
        assert 0 < expected.mean() < 1
    other = word_maps(seed=5)
    expected = evaluation.rank_correlation(values[:, None], other[:, None])
    torch.testing.assert_close(evaluation.rank_correlation(values, other), expected, rtol=0, atol=0)
    values[2] = 1
    assert evaluation.constant(values).tolist() == [False, False, True, False]


def test_grades_of_words_by_hand():
    values, inside = torch.tensor([[3.0, 1, 4, -2]]), torch.tensor([[True, True, False, False]])
    assert evaluation.mass_accuracy(values, inside).tolist() == [0.5]
    assert evaluation.rank_accuracy(values, inside).tolist() == [0.5]
    assert evaluation.pointing(values, inside).tolist() == [0]


@pytest.mark.parametrize("grade", ["mass_accuracy", "rank_accuracy", "pointing"])
@pytest.mark.parametrize(
    ("values", "inside", "error", "cure"),
    [
        (word_maps()[0], word_maps()[0] > 0, ValueError, r"\[N, H, W\] for pictures or \[N, L\] for texts.*m\[None\]"),
        (word_maps()[:, None].expand(-1, 6, -1), word_maps() > 0, ValueError, "pixel_map"),
        (word_maps()[None], word_maps() > 0, ValueError, r"give \[4, 15\]"),
        (
            word_maps()[:, :7],
            word_maps() > 0,
            ValueError,
            r"for each picture or text.*upsample\(maps, \(15,\)\)",
        ),
        (word_maps(), (word_maps() > 0).float(), TypeError, "masks > 0"),
        (word_maps(), word_maps() > 9, ValueError, "Mask 0 marks no pixel or word"),
        (word_maps() / 0, word_maps() > 0, ValueError, "NaN or infinite"),
    ],
)
def test_word_maps_that_cannot_be_graded(grade, values, inside, error, cure):
    with pytest.raises(error, match=cure):
        getattr(evaluation, grade)(values, inside)


def test_baselines_of_texts():
    x = texts()
    for name in ("random_maps", "centred_gaussian", "absolute_input"):
        got = getattr(evaluation, name)(x)
        assert got.shape == (3, 20) and got.dtype == x.dtype and not evaluation.constant(got).any()
        with pytest.raises(ValueError, match=r"\[N, C, H, W\]"):
            getattr(evaluation, name)(x[0])
    torch.testing.assert_close(evaluation.absolute_input(x), x.abs().mean(1))
    torch.testing.assert_close(evaluation.random_maps(x), evaluation.random_maps(x[:, :, None])[:, 0], rtol=0, atol=0)
    bell = evaluation.centred_gaussian(x, width=0.5)[1]
    torch.testing.assert_close(bell, bell.flip(0))
    assert bell[0].item() == pytest.approx(torch.tensor(-((0.5 - 1 / 40) ** 2) / 0.5).exp().item())
    with pytest.raises(ValueError, match=r"Sobel.*\[3, 6, 20\] is that of texts: .*one picture as x\[None\]"):
        evaluation.sobel(x)
