"""Every kind of network, output, target and precision that people bring: the right value, or one sentence."""

import copy
import dataclasses
import re
import threading
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from helpers import attribution, evaluation, synthesis
from helpers.hooks import capture, channels_last_as_maps, split_at, tokens_as_maps
from test_contract import assert_same, state

A = attribution
FOUR = torch.arange(4).view(2, 2).repeat_interleave(8, 0).repeat_interleave(8, 1)  # segments: the quarters of 16 x 16
OPTIONS = {  # every method of helpers.attribution that explains: what it needs to be quick, and whether it has a layer
    "gradient": ({}, False),
    "gradient_x_input": ({}, False),
    "deconvnet": ({}, False),
    "guided_backprop": ({}, False),
    "smooth_grad": ({"samples": 3}, False),
    "var_grad": ({"samples": 3}, False),
    "integrated_gradients": ({"steps": 3}, False),
    "gradient_shap": ({"samples": 3}, False),
    "deep_lift": ({}, False),
    "extremal_perturbation": ({"steps": 3, "cells": 4}, False),
    "occlusion": ({"patch": 4}, False),
    "occluded_logits": ({"patch": 4}, False),
    "rise": ({"samples": 6}, False),
    "lime": ({"samples": 6, "segments": FOUR}, False),
    "kernel_shap": ({"samples": 6, "segments": FOUR}, False),
    "shapley_values": ({"segments": FOUR}, False),
    "cam": ({}, True),
    "grad_cam": ({}, True),
    "grad_cam_plus_plus": ({}, True),
    "layer_cam": ({}, True),
    "hires_cam": ({}, True),
    "xgrad_cam": ({}, True),
    "gradient_cams": ({}, True),
    "guided_grad_cam": ({}, True),
    "score_cam": ({}, True),
    "ablation_cam": ({}, True),
    "eigen_cam": ({}, True),
}
ELSEWHERE = {
    "pixel_map",
    "upsample",
    "superpixels",
    "full_grad",
    "full_gradients",
    "lrp",
}  # no explanation, or tests of their own
OF_A_LAYER = [name for name, (_, has_layer) in OPTIONS.items() if has_layer]
SURROGATES = {"lime", "kernel_shap", "shapley_values"}
WITHOUT_GRADIENT = {
    "cam",
    "eigen_cam",
    "score_cam",
    "ablation_cam",
    "occlusion",
    "occluded_logits",
    "rise",
} | SURROGATES
every_method = pytest.mark.parametrize("name", OPTIONS)
every_method_of_a_layer = pytest.mark.parametrize("name", OF_A_LAYER)
MAY_HAVE_OTHERS = {"relevance", "full_grad", "attention"}


def explain(name, net, x, target=1, layer="conv", **more):
    """Return what the method gives, as one tensor."""
    options, has_layer = OPTIONS[name]
    options = {**options, **({"layer": layer} if has_layer else {}), **more}
    if name == "occluded_logits":
        return A.occluded_logits(net, x, **options)
    found = getattr(A, name)(net, x, target, **options)
    return torch.stack(list(found.values()), 1) if isinstance(found, dict) else found


def pictures(count=2, size=16, seed=0, dtype=torch.float32):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)).to(dtype)


class Net(nn.Module):
    """Convolution, ReLU, pooling to ``side`` x ``side``, ``flatten``, linear; positive scores for Ablation-CAM."""

    def __init__(self, flatten=lambda z: z.flatten(1), side=1, out=lambda y: y):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.conv = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.fc = nn.Linear(8 * side * side, 5)
        nn.init.uniform_(self.fc.bias, 1, 2)
        nn.init.uniform_(self.fc.weight, -1, 2)
        self.flatten, self.side, self.out = flatten, side, out

    def forward(self, x):
        maps = self.conv(self.stem(x).relu()).relu()
        return self.out(self.fc(self.flatten(F.adaptive_avg_pool2d(maps, self.side))))


def test_no_method_is_forgotten():
    methods = {name for name in A.__all__ if getattr(A, name).__module__.split(".")[-1] not in MAY_HAVE_OTHERS}
    assert methods - ELSEWHERE == set(OPTIONS)


# --- nets that look at memory ---


class ViewNet(nn.Module):
    def __init__(self, flatten):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc, self.flatten = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(512, 5), flatten
        nn.init.uniform_(self.fc.bias, 2, 3)

    def forward(self, x):
        return self.fc(self.flatten(F.max_pool2d(self.conv(x).relu(), 2)))


VIEWS = {
    "view": lambda z: z.view(-1, 512),
    "view of a size": lambda z: z.view(z.size(0), -1),
    "view as": lambda z: z.view_as(torch.empty(len(z), 512)),
    "strided": lambda z: z.as_strided((len(z), 512), (512, 1)),
    "of a part": lambda z: z[:, :, 0:].view(-1, 512),
}


@every_method
@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("view", VIEWS)
def test_nets_that_flatten_with_a_view_are_those_that_flatten(name, count, view):
    if name == "cam":
        pytest.skip("no average, so no CAM")
    x = pictures(count)
    expected = explain(name, ViewNet(lambda z: z.flatten(1)).eval(), x)
    got = explain(name, ViewNet(VIEWS[view]).eval(), x)
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-5)


@every_method
def test_a_view_after_the_global_average_does_not_give_up_the_quick_layout(name):
    layouts = []
    net = Net(lambda z: z.view(z.size(0), -1)).eval()
    net.conv.register_forward_hook(lambda m, i, o: layouts.append(o.is_contiguous(memory_format=torch.channels_last)))
    explain(name, net, pictures(6))
    to_the_picture = ("gradient", "gradient_x_input", "deconvnet", "guided_backprop", "guided_grad_cam")
    assert layouts[-1] == (name not in to_the_picture)  # whose rounding stays that of the plain layout


@every_method
def test_a_users_hook_sees_as_many_passes_of_a_net_with_a_view_as_of_another(name):
    if name == "cam":
        pytest.skip("no average, so no CAM")
    counts = []
    for flatten in (lambda z: z.flatten(1), lambda z: z.view(z.size(0), -1)):
        net, seen = ViewNet(flatten).eval(), []
        net.conv.register_forward_hook(lambda m, i, o, seen=seen: seen.append(len(o)))
        explain(name, net, pictures(4))
        counts.append(seen)
    assert counts[0] == counts[1]


def test_a_stumble_that_nobody_could_foresee_falls_back_to_the_plain_layout():
    class Hidden(torch.autograd.Function):  # what happens inside is no torch function of its own
        @staticmethod
        def forward(ctx, z):
            if not z.is_contiguous():
                raise RuntimeError("view size is not compatible")
            return z.reshape(len(z), -1)

        @staticmethod
        def backward(ctx, g):
            return g.reshape(-1, 8, 8, 8)

    x = pictures(4)
    for name in ("grad_cam", "integrated_gradients", "occlusion", "rise"):
        got = explain(name, ViewNet(Hidden.apply).eval(), x)
        torch.testing.assert_close(got, explain(name, ViewNet(lambda z: z.flatten(1)).eval(), x), rtol=1e-3, atol=1e-5)


def test_a_view_still_shares_its_values_with_the_maps():
    """What a net writes into its view, it reads in the maps: the layout must not come between."""

    class Writes(ViewNet):
        def forward(self, x):
            maps = F.max_pool2d(self.conv(x).relu(), 2)
            maps.view(len(maps), -1)[:, :100] = 0.0
            return self.fc(maps.flatten(1))

    x, net = pictures(4), Writes(None).eval()
    plain = attribution.gradient(net, x[:1], 1)  # one picture: never turned
    torch.testing.assert_close(attribution.gradient(net, x, 1)[:1], plain)


@every_method
def test_a_net_that_changes_its_input_in_place(name):
    class InPlace(Net):
        def forward(self, x):
            return super().forward(x.sub_(0.5).mul_(2))

    class Plain(Net):
        def forward(self, x):
            return super().forward((x - 0.5) * 2)

    x = pictures(3)
    before = x.clone()
    torch.testing.assert_close(explain(name, InPlace(), x), explain(name, Plain(), x), rtol=1e-4, atol=1e-6)
    assert torch.equal(x, before)


# --- what a layer gives, as maps ---


class ChannelsLast(nn.Module):
    """A net with a layer that keeps its channels last, as Swin does."""

    def __init__(self, last=False):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.norm, self.fc = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.LayerNorm(8), nn.Linear(8, 5)
        self.act, self.first, self.last = nn.GELU(), nn.Identity(), last
        nn.init.uniform_(self.fc.bias, 2, 3)

    def forward(self, x):
        maps = self.act(self.norm(self.stem(x).movedim(1, -1)))
        return self.fc(self.first(maps.movedim(-1, 1)).mean((2, 3)))


@every_method_of_a_layer
def test_channels_last_by_the_module_and_as_said(name):
    if name == "guided_grad_cam":
        pytest.skip("no ReLU")
    net, x = ChannelsLast().eval(), pictures(2, 16)
    if name != "cam":  # of the activation before it there is no CAM: another average
        got = explain(name, net, x, layer="norm")
        assert got.shape[-2:] == (8, 8)
        torch.testing.assert_close(got, explain(name, net, x, layer="norm", as_maps=channels_last_as_maps))
        with pytest.raises(ValueError, match="as_maps=channels_last_as_maps"):
            explain(name, net, pictures(2, 48), layer="act")  # [2, 24, 24, 8]: fits only with the channels last
    expected = explain(name, net, x, layer="first")
    got = explain(name, net, x, layer="act", as_maps=channels_last_as_maps)
    torch.testing.assert_close(got, expected)


@every_method_of_a_layer
def test_as_maps_must_only_move_values(name):
    net, x = Net().eval(), pictures()
    for wrong in (lambda a: a * 2, lambda a: a - a.mean(), lambda a: a[:, :1].expand_as(a)):
        with pytest.raises(ValueError, match="only move the values"):
            explain(name, net, x, as_maps=wrong)
    with pytest.raises(ValueError, match=r"must give \[N, K, h, w\]"):
        explain(name, net, x, as_maps=lambda a: a.flatten(1))


class Tokens(nn.Module):
    """A small vision transformer: patches of 4, a class token, one block of attention, or an average of all."""

    def __init__(self, skip=1, average=True):
        super().__init__()
        torch.manual_seed(0)
        self.cut, self.norm, self.fc = nn.Conv2d(3, 8, 4, stride=4), nn.LayerNorm(8), nn.Linear(8, 5)
        self.skip, self.average, self.same = skip, average, nn.Identity()
        self.token = nn.Parameter(torch.randn(1, skip, 8)) if skip else None
        nn.init.uniform_(self.fc.bias, 2, 3)

    def forward(self, x):
        tokens = self.cut(x).flatten(2).mT
        if self.skip:
            tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1)
        tokens = self.same(self.norm(tokens))
        return self.fc(tokens[:, self.skip :].mean(1) if self.average else tokens[:, 0])


@every_method_of_a_layer
@pytest.mark.parametrize("skip", [0, 1])
def test_tokens(name, skip):
    if name == "guided_grad_cam":
        pytest.skip("no ReLU")
    net, x = Tokens(skip).eval(), torch.rand(2, 3, 16, 24)
    got = explain(name, net, x, layer="norm")
    assert got.shape[-2:] == (4, 6)
    torch.testing.assert_close(got, explain(name, net, x, layer="norm", as_maps=tokens_as_maps((4, 6), skip)))
    with pytest.raises(ValueError, match=rf"as_maps=tokens_as_maps\(grid=\(4, 6\), skip={skip}\)"):
        explain(name, net, x, layer="same")  # an Identity tells nothing
    with pytest.raises(ValueError, match=r"write\s+as_maps=tokens_as_maps"):
        explain(name, net, x, layer="norm", as_maps=tokens_as_maps((5, 6), skip))


def test_tokens_that_fit_two_grids_are_not_guessed():
    """Four tokens of a picture of 6 x 16 are 1 x 4 patches of 4 pixels, or 1 x 3 of 5 pixels and a class token."""
    net, x = Tokens(0).eval(), torch.rand(2, 3, 6, 16)
    with pytest.raises(ValueError, match=r"tokens_as_maps\(grid=\(h, w\), skip=\.\.\.\)"):
        attribution.grad_cam(net, x, 1, layer="norm")
    got = attribution.grad_cam(net, x, 1, layer="norm", as_maps=tokens_as_maps((1, 4), skip=0))
    assert got.shape == (2, 1, 4)


def test_tokens_have_the_right_places():
    net, x = Tokens(1).eval(), torch.rand(1, 3, 16, 24)
    maps = attribution.hires_cam(net, x, 2, layer="norm", relu=False)
    with capture(net.norm) as record:
        score = net(x)[:, 2]
    parts = (record.activations * record.gradient(score)).sum(2).detach()
    torch.testing.assert_close(maps.flatten(1), parts[:, 1:])
    torch.testing.assert_close(maps.flatten(1).sum(1) + net.fc.bias[2], score)


def test_a_class_token_behind_the_last_attention_is_a_sentence():
    with pytest.raises(ValueError, match="before the last attention"):
        attribution.grad_cam(Tokens(1, average=False), torch.rand(1, 3, 16, 16), 1, layer="norm")


def test_registers_must_be_said():
    net, x = Tokens(5).eval(), torch.rand(2, 3, 16, 24)
    with pytest.raises(ValueError, match=r"tokens_as_maps\(grid="):
        attribution.grad_cam(net, x, 1, layer="norm")
    got = attribution.grad_cam(net, x, 1, layer="norm", as_maps=tokens_as_maps((4, 6), 5))
    assert got.shape == (2, 4, 6)


TORCHVISIONS = [  # name, layer, side of the maps for pictures of 224
    ("swin_t", "features.7", 7),
    ("swin_t", "features.5.5", 14),
    ("swin_t", "norm", 7),
    ("swin_t", "permute", 7),
    ("convnext_tiny", "features", 7),
    ("convnext_tiny", "features.7.2.block.2", 7),
    ("convnext_tiny", "features.7.2.block.3", 7),
    ("convnext_tiny", "features.7.2.block.5", 7),
    ("vit_b_16", "encoder.layers.encoder_layer_11.ln_1", 14),
    ("vit_b_16", "encoder.layers.encoder_layer_10", 14),
    ("vit_b_16", "conv_proj", 14),
]


@pytest.mark.parametrize(("name", "layer", "side"), TORCHVISIONS, ids=[f"{n}, {layer}" for n, layer, _ in TORCHVISIONS])
def test_torchvisions_transformers(name, layer, side):
    from nets import random_net

    net, x = random_net(name), pictures(1, 224)
    if name == "vit_b_16" and not net.heads.head.weight.any():  # torchvision begins with a head of zeros
        net = copy.copy(net)
        net.heads = copy.deepcopy(net.heads)
        nn.init.normal_(net.heads.head.weight, std=0.02)
    got = attribution.hires_cam(net, x, 3, layer=layer, relu=False)
    assert got.shape == (1, side, side)
    with capture(net.get_submodule(layer)) as record:
        score = net(x)[:, 3]
    parts = (record.activations * record.gradient(score)).detach()
    if parts.dim() == 3:
        expected = parts.sum(2)[:, 1:].unflatten(1, (side, side))
    else:
        expected = parts.sum(3 if parts.shape[1] == side else 1)
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-6)


def test_inside_of_convnext_an_activation_is_refused_with_the_line_to_write():
    from nets import random_net

    net, x = random_net("convnext_tiny"), pictures(1, 64)
    with pytest.raises(ValueError, match="as_maps=channels_last_as_maps"):
        attribution.grad_cam(net, x, 3, layer="features.7.2.block.4")
    assert attribution.grad_cam(
        net, x, 3, layer="features.7.2.block.4", as_maps=channels_last_as_maps
    ).shape == (1, 2, 2)  # fmt: skip


# --- what a model gives ---


@dataclasses.dataclass
class Answer:
    logits: torch.Tensor
    more: int = 0


OUTPUTS = {
    "tuple": lambda y: (y, y[:, :2]),
    "list": lambda y: [y, 3],
    "dict with logits": lambda y: {"logits": y},
    "dict with out": lambda y: {"out": y, "aux": y[:, :1]},
    "dataclass": Answer,
}


@every_method
@pytest.mark.parametrize("out", OUTPUTS)
def test_outputs_that_hold_logits(name, out):
    x, expected = pictures(), explain(name, Net().eval(), pictures())
    net = Net(out=OUTPUTS[out]).eval()
    torch.testing.assert_close(explain(name, net, x), expected)
    torch.testing.assert_close(explain(name, net, x, lambda logits: logits[:, 1]), expected)


@every_method
@pytest.mark.parametrize("how", ["[N]", "[N, 1]"])
def test_one_number_for_each_picture(name, how):
    take = (lambda y: y[:, 1]) if how == "[N]" else (lambda y: y[:, 1:2])
    expected = explain(name, Net().eval(), pictures())
    if name == "occluded_logits":
        expected = expected[..., 1:2]
    if name == "cam" and how == "[N]":
        pytest.skip("the index cuts the head off")
    if name == "cam":
        return
    net = Net(out=take).eval()
    for target in (None, 0, lambda y: y if y.dim() == 1 else y[:, 0]):
        torch.testing.assert_close(explain(name, net, pictures(), target), expected)


def test_cam_of_a_regression():
    class Regression(Net):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 1)

        def forward(self, x):
            return super().forward(x)[:, 0]

    net, x = Regression().eval(), pictures()
    for target in (None, 0, lambda y: y):
        maps = attribution.cam(net, x, target, layer="conv")
        torch.testing.assert_close(maps.mean((1, 2)) + net.fc.bias, net(x))


class Segmenter(nn.Module):
    def __init__(self, out=lambda y: y):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head, self.out = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 5, 1), out
        nn.init.uniform_(self.head.bias, 1, 2)

    def forward(self, x):
        return self.out(self.head(self.conv(x).relu()))


def detections(y):
    return [{"scores": one.flatten(1).mean(1), "labels": torch.arange(len(one))} for one in y]


RAW = {  # output, target function, what the sentence shows
    "segmentation": (lambda y: y, lambda y: y[:, 1].mean((1, 2)), r"output\[:, c\].mean\(\(1, 2\)\)"),
    "torchvision's segmentation": (lambda y: {"out": y}, lambda y: y["out"][:, 1].mean((1, 2)), r'output\["out"\]'),
    "detection": (detections, lambda found: torch.stack([one["scores"][1] for one in found]), "torch.stack"),
}


@every_method
@pytest.mark.parametrize("kind", RAW)
def test_outputs_that_a_function_reads(name, kind):
    out, function, shown = RAW[kind]
    net = Segmenter(out).eval()
    with pytest.raises(ValueError, match=rf"not one row of logits.*{shown}"):
        explain(name, net, pictures())
    if name in ("cam", "occluded_logits"):  # which ask for classes
        return
    expected = explain(name, Segmenter(lambda y: y.mean((2, 3))).eval(), pictures())
    torch.testing.assert_close(explain(name, net, pictures(), function), expected, rtol=1e-4, atol=1e-6)


MEASURES = {
    "deletion": lambda net, x, target: evaluation.deletion(net, x, x.mean(1), target, steps=4)[1],
    "insertion": lambda net, x, target: evaluation.insertion(net, x, x.mean(1), target, steps=4)[1],
    "infidelity": lambda net, x, target: evaluation.infidelity(net, x, x, target, samples=3),
    "sensitivity_max": lambda net, x, target: evaluation.sensitivity_max(net, x, A.gradient, target, samples=2),
}


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("kind", RAW)
def test_measures_hand_such_outputs_to_the_function_too(name, kind):
    out, function, _ = RAW[kind]
    expected = MEASURES[name](Segmenter(lambda y: y.mean((2, 3))).eval(), pictures(3), 1)
    got = MEASURES[name](Segmenter(out).eval(), pictures(3), function)
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-5)
    with pytest.raises(ValueError, match="not one row of logits"):
        MEASURES[name](Segmenter(out).eval(), pictures(), 1)


@pytest.mark.parametrize("kind", RAW)
def test_probabilities_need_logits(kind):
    out, function, _ = RAW[kind]
    for measure in (evaluation.deletion, evaluation.insertion):
        with pytest.raises(ValueError, match="probability=True needs one row of logits"):
            measure(Segmenter(out), pictures(), pictures().mean(1), function, steps=4, probability=True)


PROBABILITIES = {
    "functional softmax": (lambda y: F.softmax(y, 1), "leave the softmax out"),
    "method": (lambda y: y.softmax(1), "leave the softmax out"),
    "sigmoid": (torch.sigmoid, "leave the sigmoid out"),
    "divided": (lambda y: y.exp() / y.exp().sum(1, keepdim=True), "leave the softmax out"),
}


@every_method
@pytest.mark.parametrize("how", PROBABILITIES)
def test_probabilities_are_said_once_for_each_model(name, how):
    if name == "cam":
        pytest.skip("no CAM of probabilities")
    out, cure = PROBABILITIES[how]
    net = Net(out=out).eval()
    with pytest.warns(UserWarning, match=f"gives probabilities, not logits.*{cure}"):
        explain(name, net, pictures())
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Net gives probabilities")
        explain(name, net, pictures())


def test_a_softmax_module_is_named():
    net = nn.Sequential(nn.Flatten(), nn.Linear(768, 3), nn.Softmax(1))
    with pytest.warns(UserWarning, match=r'model.set_submodule\("2", torch.nn.Identity\(\)\)'):
        attribution.gradient(net, pictures(), 1)


@every_method
def test_logits_are_no_probabilities(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explain(name, Net(), pictures())


# --- targets ---


@every_method
def test_all_ways_to_write_a_target(name):
    net, x = Net().eval(), pictures(2)
    expected = explain(name, net, x, torch.tensor([1, 3]))
    ways = [[1, 3], (1, 3), np.array([1, 3]), torch.tensor([1, 3], dtype=torch.int32), [torch.tensor(1), np.int64(3)]]
    for way in ways:
        torch.testing.assert_close(explain(name, net, x, way), expected)
    for way in (np.int64(1), torch.tensor(1), np.array(1), [1, 1]):
        torch.testing.assert_close(explain(name, net, x, way), explain(name, net, x, 1))


@every_method
@pytest.mark.parametrize(
    ("target", "error", "cure"),
    [
        ([0, 1, 2], ValueError, "3 targets for 2 pictures"),
        ([0.5, 1.0], TypeError, "whole class numbers"),
        ([True, False], TypeError, "whole class numbers"),
        (np.array([0.0, 1.0]), TypeError, "whole class numbers"),
        (["cat", "dog"], TypeError, "The target is a list"),
        ([[0], [1]], TypeError, r"shape \[2, 1\]"),
        ([0, 9], ValueError, "Class 9 is out of range"),
    ],
    ids=["count", "floats", "bools", "array of floats", "names", "shape", "range"],
)
def test_targets_that_cannot_be_used(name, target, error, cure):
    if name == "occluded_logits":
        pytest.skip("has no target")
    with pytest.raises(error, match=cure):
        explain(name, Net(), pictures(), target)


# --- models as they come ---


@every_method
def test_a_function_is_no_model(name):
    net = Net()
    for model in (lambda x: net(x), Net):
        with pytest.raises(TypeError, match="give a torch.nn.Module"):
            explain(name, model, pictures())


@every_method
def test_another_precision_is_a_sentence(name):
    with pytest.raises(
        ValueError, match=r"torch.float32, the weights of Net are torch.float64: give x.to\(torch.float64"
    ):
        explain(name, Net().double(), pictures())
    with pytest.raises(ValueError, match=r"give x.to\(torch.float32\)"):
        explain(name, Net(), pictures().double())


@every_method
def test_another_device_is_a_sentence(name):
    with pytest.raises(ValueError, match="on the meta device"):
        explain(name, Net().to("meta"), pictures())


@every_method
def test_a_net_made_in_inference_mode_is_a_sentence_with_a_cure(name):
    with torch.inference_mode():
        net = Net()
    expected = explain(name, Net(), pictures())
    if name in WITHOUT_GRADIENT:
        torch.testing.assert_close(explain(name, net, pictures()), expected)
    else:
        with pytest.raises(ValueError, match="copy.deepcopy"):
            explain(name, net, pictures())
    torch.testing.assert_close(explain(name, copy.deepcopy(net), pictures()), expected)


class Detached(Net):
    def forward(self, x):
        return self.fc(self.conv(self.stem(x).relu()).relu().mean((2, 3)).detach())


@every_method
def test_a_detached_head(name):
    if name in WITHOUT_GRADIENT:
        torch.testing.assert_close(explain(name, Detached(), pictures()), explain(name, Net(), pictures()))
    else:
        with pytest.raises(ValueError, match=r"does not depend on.*detach\(\)"):
            explain(name, Detached(), pictures())


@pytest.mark.parametrize("where", ["first", "unused and last", "an auxiliary head runs last", "shared"])
def test_cam_finds_the_head_by_what_gave_the_logits(where):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            if where == "first":
                self.fc = nn.Linear(8, 5)
            self.conv = nn.Conv2d(3, 8, 3)
            if where != "first":
                self.fc = nn.Linear(8, 5)
            self.other = nn.Linear(8, 5)

        def forward(self, x):
            pooled = self.conv(x).relu().mean((2, 3))
            logits = self.fc(pooled)
            if where == "an auxiliary head runs last":
                return logits, self.other(pooled)
            return logits

    torch.manual_seed(0)
    net, x = Odd().eval(), pictures()
    answer = net(x)[0] if isinstance(net(x), tuple) else net(x)
    got = attribution.cam(net, x, 1, layer="conv")
    torch.testing.assert_close(got.mean((1, 2)) + net.fc.bias[1], answer[:, 1])


@every_method_of_a_layer
def test_a_layer_that_never_runs(name):
    net = Net()
    net.idle = nn.Conv2d(3, 3, 3)
    with pytest.raises(ValueError, match="never calls this Conv2d"):
        explain(name, net, pictures(), layer="idle")
    for layer in (None, 3):
        with pytest.raises(TypeError, match="give a name"):
            explain(name, net, pictures(), layer=layer)


@every_method
def test_attention_over_channels_does_not_make_texts_of_pictures(name):
    class WithAttention(Net):
        def __init__(self):
            super().__init__()
            modules = list(self._modules.items())
            self._modules.clear()
            self.eca = nn.Conv1d(1, 1, 3, padding=1)
            self._modules.update(modules)

        def forward(self, x):
            maps = self.conv(self.stem(x).relu()).relu()
            return self.fc(maps.mean((2, 3)) * self.eca(maps.mean((2, 3))[:, None])[:, 0].sigmoid())

    net = WithAttention()
    if name != "cam":
        explain(name, net, pictures())


# --- batches that mix, numbers that are random ---


class Mixing(Net):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(8, track_running_stats=False)

    def forward(self, x):
        maps = self.norm(self.conv(self.stem(x).relu())).relu()
        return self.fc(maps.mean((2, 3)))


@every_method
def test_batch_statistics_in_eval_mode(name):
    with pytest.raises(ValueError, match="BatchNorm without running statistics.*one picture at a time"):
        explain(name, Mixing(), pictures(2))
    if (
        name
        in {"smooth_grad", "integrated_gradients", "gradient_shap", "occlusion", "occluded_logits", "rise"} | SURROGATES
    ):
        with pytest.raises(ValueError, match="chunk=1"):
            explain(name, Mixing(), pictures(1))
        explain(name, Mixing(), pictures(2), chunk=1)
    elif name not in ("cam", "score_cam", "ablation_cam", "var_grad"):
        explain(name, Mixing(), pictures(1))


def test_one_picture_has_its_own_batch_statistics():
    net, x = Mixing().eval(), pictures(1)
    z = x.clone().requires_grad_()
    (own,) = torch.autograd.grad(net(z)[0, 1], z)
    torch.testing.assert_close(attribution.gradient(net, x, 1), own)


RANDOM = {
    "dropout": lambda z: F.dropout(z, 0.3),
    "torch.dropout": lambda z: torch.dropout(z, 0.3, True),
    "dropout2d": lambda z: F.dropout2d(z[:, :, None, None], 0.3)[:, :, 0, 0],
    "noise": lambda z: z + 0.01 * torch.randn_like(z),
    "uniform": lambda z: z * torch.rand(z.shape),
    "bernoulli": lambda z: z * torch.bernoulli(torch.full_like(z, 0.9)),
}


@every_method
@pytest.mark.parametrize("how", RANDOM)
def test_random_numbers_in_eval_mode_are_said(name, how):
    net = Net(flatten=lambda z: RANDOM[how](z.flatten(1)))
    if name == "cam":
        pytest.skip("no CAM of what is changed behind the average")
    with pytest.warns(UserWarning, match="also in eval.. mode, so its answers are random"):
        explain(name, net, pictures())


@every_method
def test_dropout_that_is_off_is_not_random(name):
    net = Net(flatten=lambda z: F.dropout(F.dropout(z.flatten(1), 0.5, False), 0.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explain(name, net, pictures())


# --- half precision ---


def correlation(a, b):
    return torch.corrcoef(torch.stack([a.flatten().double(), b.flatten().double()]))[0, 1].item()


LOW = {"half": torch.float16, "bf16": torch.bfloat16}
AT_WORK = {name: {"samples": 20} for name in ("smooth_grad", "var_grad")}
AT_WORK |= {"integrated_gradients": {"steps": 20}, "rise": {"samples": 500}}


@every_method
@pytest.mark.parametrize("how", [*LOW, "autocast"])
@pytest.mark.filterwarnings("ignore:Net gives its scores in steps")
def test_half_precision_is_near_float32(name, how):
    more, x = AT_WORK.get(name, {}), pictures(2)
    expected = explain(name, Net(side=4).eval(), x, **more) if name != "cam" else explain(name, Net().eval(), x)
    net = Net(side=1 if name == "cam" else 4)
    if how == "autocast":
        with torch.autocast("cpu", torch.bfloat16):
            got = explain(name, net, x, **more)
    else:
        got = explain(name, net.to(LOW[how]), x.to(LOW[how]), **more)
    assert got.isfinite().all()
    least = 0.999 if how == "half" else 0.99
    assert correlation(got, expected) > (0.97 if name in ("ablation_cam", "occlusion") and how != "half" else least)


def test_rise_in_bf16_at_its_usual_number_of_masks():
    net, x = Net(side=4).eval(), pictures(1)
    expected = attribution.rise(net, x, 1)
    assert correlation(attribution.rise(copy.deepcopy(net).bfloat16(), x.bfloat16(), 1), expected) > 0.99
    with torch.autocast("cpu", torch.bfloat16):
        assert correlation(attribution.rise(net, x, 1), expected) > 0.99


@pytest.mark.parametrize("name", ["occlusion", "rise", "score_cam", "ablation_cam", "infidelity"])
def test_changes_below_the_rounding_are_said(name):
    def explain(name, net, x):
        if name == "infidelity":
            return evaluation.infidelity(net, x, x, 1)
        return globals()["explain"](name, net, x)

    net = Net().eval()
    with torch.no_grad():
        net.fc.bias.add_(300)  # bf16 has steps of 2 there, and nothing that happens is as large
        net.conv.weight[0].add_(0.5)
    explain(name, net, pictures())
    with pytest.warns(UserWarning, match=r"half precision.*use model.float\(\)"):
        explain(name, net.bfloat16(), pictures(dtype=torch.bfloat16))


@pytest.mark.parametrize(("shift", "samples", "said"), [(0, 20, False), (10, 20, True), (10, 2000, False)])
def test_rise_averages_rounding_over_its_masks(shift, samples, said):
    net = Net(side=4).eval()
    nn.init.constant_(net.fc.bias, shift + 1.5)
    expected = A.rise(net, pictures(1), 1, samples=samples)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        got = A.rise(net.bfloat16(), pictures(1, dtype=torch.bfloat16), 1, samples=samples)
    assert any("half precision" in str(warning.message) for warning in found) == said
    assert said or correlation(got, expected) > 0.98


def test_score_cam_whose_weights_are_all_alike_is_not_rounding():
    net, x = Net().eval(), pictures()
    nn.init.constant_(net.fc.weight, 1e-3)
    nn.init.constant_(net.fc.bias, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explain("score_cam", net.bfloat16(), x.bfloat16())


@every_method
@pytest.mark.filterwarnings("ignore:Net gives its scores in steps")
def test_autocast_of_the_caller_is_as_it_was(name):
    with torch.autocast("cpu", torch.bfloat16):
        explain(name, Net(), pictures())
        assert torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


# --- threads ---


def test_one_model_in_several_threads():
    net = Net()
    net.train()
    net.conv.eval()
    net.stem.requires_grad_(False)
    before = state(net)
    x, names = pictures(3), [name for name in OPTIONS if name not in ("score_cam", "rise")]
    expected = {name: explain(name, copy.deepcopy(net), x) for name in names}
    failures, start = [], threading.Barrier(6)

    def work(number):
        start.wait()
        for turn in range(len(names)):
            name = names[(turn + 3 * number) % len(names)]
            try:
                torch.testing.assert_close(explain(name, net, x), expected[name])
            except Exception as error:
                failures.append(f"{name}: {error}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert_same(before, state(net))


# --- one bad picture ---


@every_method
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_the_picture_that_is_not_finite_is_named(name, value):
    x = pictures(4)
    x[2, 1, 3, 3] = value
    with pytest.raises(ValueError, match="Picture 2 of the batch holds NaN or infinite values"):
        explain(name, Net(), x)


@pytest.mark.parametrize("name", ["smooth_grad", "var_grad"])
def test_the_constant_picture_is_named(name):
    x = pictures(4)
    x[1] = 0.5
    with pytest.raises(ValueError, match="Picture 1 of the batch has one value everywhere"):
        explain(name, Net(), x)


@pytest.mark.parametrize(
    ("name", "said"), [("integrated_gradients", "equals its baseline"), ("gradient_x_input", "is zero everywhere")]
)
def test_the_picture_of_zeros_is_named(name, said):
    x = pictures(4)
    x[3] = 0
    with pytest.raises(ValueError, match=f"Picture 3 of the batch {said}"):
        explain(name, Net(), x)


def test_the_picture_without_a_gradient_is_named():
    class OffForTheSecond(Net):
        def forward(self, x):
            return super().forward(x * (x.mean((1, 2, 3), keepdim=True) > 0))

    x, net = pictures(3), OffForTheSecond()
    x[1] -= 5
    for name in ("gradient", "guided_backprop", "deconvnet", "smooth_grad", "integrated_gradients"):
        with pytest.raises(ValueError, match="Picture 1 of the batch: the gradient is zero everywhere"):
            explain(name, net, x)


def test_the_picture_whose_score_does_not_fit_ablation_cam_is_named():
    net, x = Net().eval(), pictures(3)
    target = int(net(x).argmax(1)[0])
    flip = torch.tensor([1.0, 1.0, -1.0])
    with pytest.raises(ValueError, match="picture 2 of the batch"):
        attribution.ablation_cam(net, x, lambda y: y[:, target] * (flip if len(y) == 3 else 1), layer="conv")


def test_the_halves_of_a_split_net_with_a_view():
    net, x = ViewNet(lambda z: z.view(-1, 512)).eval(), pictures(3)
    trunk, head = split_at(net, "conv")
    torch.testing.assert_close(head(*trunk(x)), net(x))


# --- what a forward pass leaves on the model itself ---


class Noting(Net):
    """Counts its passes in a buffer, exchanges another buffer, and keeps its maps for the user to look at."""

    def __init__(self):
        super().__init__()
        self.register_buffer("passes", torch.zeros(()))
        self.register_buffer("last", torch.zeros(3))
        self.features, self.all_features, self.by_name = None, [], {}

    def forward(self, x):
        self.passes += 1
        self.last = self.last + 1
        self.features = self.conv(self.stem(x).relu()).relu()
        self.all_features.append(self.features)
        self.by_name["conv"] = self.features
        return self.fc(self.features.mean((2, 3)))


@every_method
def test_a_model_that_notes_things_on_itself(name):
    net, x = Noting(), pictures()
    passes, last = net.passes, net.last
    torch.testing.assert_close(explain(name, net, x), explain(name, Net().eval(), x))
    assert net.passes is passes and net.last is last
    assert passes == 0 and not last.any()
    assert all(type(kept) is torch.Tensor for kept in (net.features, *net.all_features, *net.by_name.values()))


@pytest.mark.parametrize("name", ["gradient", "ablation_cam", "rise"])
def test_a_buffer_comes_back_after_an_error(name):
    net = Noting()
    net.fc = nn.Linear(3, 5)
    with pytest.raises((ValueError, RuntimeError)):
        explain(name, net, pictures())
    assert net.passes == 0


@pytest.mark.parametrize("name", ["gradient", "grad_cam", "occlusion"])
@pytest.mark.parametrize(
    ("out", "said"),
    [(lambda y: y.long(), "int64"), (lambda y: torch.complex(y, y), "complex64"), (lambda y: (y > 0,), "bool")],
)
def test_logits_that_are_no_floats_are_named(name, out, said):
    with pytest.raises(ValueError, match=rf"gives torch\.{said} \[2, 5\], not .* logits"):
        explain(name, Net(out=out), pictures())


def test_parameters_that_the_model_unfreezes_are_frozen_again():
    class Unfreezing(Net):
        def forward(self, x):
            self.requires_grad_(True)
            return super().forward(x)

    net = Unfreezing()
    net.stem.requires_grad_(False)
    before = state(net)
    A.gradient(net, pictures(), 1)
    assert_same(before, state(net))


# --- parts that run again in the backward pass, and weights without a shape ---

CHECKPOINTS = {  # how the part is run, and which part
    f"{'reentrant' if reentrant else 'plain'}, {part}": (reentrant, part)
    for reentrant in (True, False)
    for part in ("stem", "conv", "both")
}


class Checkpointed(Net):
    def __init__(self, reentrant, part):
        super().__init__()
        self.reentrant, self.part = reentrant, part

    def forward(self, x):
        def again(*steps):
            return lambda z: checkpoint(nn.Sequential(*steps), z, use_reentrant=self.reentrant)

        stem, conv = (self.stem, nn.ReLU()), (self.conv, nn.ReLU())
        if self.part == "both":
            maps = again(*stem, *conv)(x)
        else:
            maps = (
                again(*conv)(nn.Sequential(*stem)(x)) if self.part == "conv" else nn.Sequential(*conv)(again(*stem)(x))
            )
        return self.fc(maps.mean((2, 3)))


@pytest.mark.parametrize("name", [*OPTIONS, "lrp", "full_grad"])
@pytest.mark.parametrize("how", CHECKPOINTS)
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_checkpoints_inside_of_the_model(name, how):
    method = getattr(A, name) if name in ELSEWHERE else lambda *given: explain(name, *given)
    net, x = Checkpointed(*CHECKPOINTS[how]).eval(), pictures()
    try:
        got = method(net, x, 1)
    except ValueError as error:
        assert name not in WITHOUT_GRADIENT
        assert re.search(
            "uses torch.utils.checkpoint.*switch it off|torch.utils.checkpoint with|plain PyTorch", str(error)
        )
    else:
        torch.testing.assert_close(got, method(Net().eval(), x, 1))


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_the_gradient_through_a_checkpoint(reentrant):
    """PyTorch's newer way gives every gradient; the older way gives none to a picture."""
    net, x = Checkpointed(reentrant, "both"), pictures()
    if reentrant:
        with pytest.raises(ValueError, match="uses torch.utils.checkpoint"):
            A.gradient(net, x, 1)
        with pytest.raises(ValueError, match="ran without gradients"):
            A.grad_cam(net, x, 1, layer="conv")
        with pytest.raises(ValueError, match="uses torch.utils.checkpoint"):
            synthesis.maximise(net, synthesis.logit(1), x, steps=2)
    else:
        torch.testing.assert_close(A.gradient(net, x, 1), A.gradient(Net(), x, 1))


class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.LazyConv2d(8, 3), nn.LazyLinear(5)

    def forward(self, x):
        return self.fc(self.conv(x).relu().mean((2, 3)))


@pytest.mark.parametrize("name", [*OPTIONS, "lrp", "full_grad"])
def test_weights_that_have_no_shape_yet(name):
    method = getattr(A, name) if name in ELSEWHERE else lambda *given: explain(name, *given)
    net, x = Lazy(), pictures()
    with pytest.raises(ValueError, match=r"Lazy has a LazyConv2d, .*run it once, model\(x\)"):
        method(net, x, 1)
    net(x)
    nn.init.constant_(net.fc.bias, 3.0)
    assert method(net, x, 1).isfinite().all()


# --- a method inside of a measurement, under autocast ---


@pytest.mark.parametrize("name", ["grad_cam", "score_cam", "occlusion"])
@pytest.mark.filterwarnings("ignore:Net gives its scores in steps")
def test_autocast_reaches_the_methods_inside_of_a_measurement(name):
    net, seen = Net(), []
    net.conv.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        evaluation.sensitivity_max(net, pictures(), lambda model, x, target: explain(name, model, x, target), samples=2)
    assert set(seen) == {torch.bfloat16}


# --- numbers at the ends of their range ---


@every_method
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number(name, value):
    if name == "occluded_logits" and value == torch.inf:
        pytest.skip("a class may be masked out by an infinite logit")
    with pytest.raises(ValueError, match="The score is (nan|inf)|gives NaN"):
        explain(name, Net(out=lambda y: y * value), pictures())


@every_method
def test_a_class_that_is_masked_out_does_not_disturb_the_others(name):
    if name in ("cam", "ablation_cam", "occluded_logits"):
        pytest.skip("their values are made of all logits")
    masked = Net(out=lambda y: torch.cat([y[:, :4], torch.full_like(y[:, 4:], -float("inf"))], 1))
    torch.testing.assert_close(explain(name, masked.eval(), pictures()), explain(name, Net().eval(), pictures()))


@pytest.mark.parametrize("scale", [1e-28, 1e28])
def test_eigen_cam_of_maps_of_any_size(scale):
    small = Net()
    with torch.no_grad():
        small.conv.weight.mul_(scale)
        small.conv.bias.mul_(scale)
    usual = A.eigen_cam(Net(), pictures(), layer="conv")
    torch.testing.assert_close(A.eigen_cam(small, pictures(), layer="conv") / scale, usual, rtol=1e-3, atol=1e-4)


@every_method
def test_logits_finer_than_the_picture(name):
    found, usual = explain(name, Net(out=torch.Tensor.double), pictures()), explain(name, Net(), pictures())
    torch.testing.assert_close(found.float(), usual, rtol=1e-3, atol=1e-5)


# --- as_maps that does more than move, and compiled code ---

NO_MOVES = {
    "relu": lambda maps: maps.relu(),
    "size": lambda maps: maps.abs(),
    "sign": lambda maps: -maps,
    "mean of channels": lambda maps: maps.mean(1, keepdim=True),
    "other picture": lambda maps: maps.flip(0),
    "twice": lambda maps: torch.cat([maps, maps], 1),
}


@every_method_of_a_layer
@pytest.mark.parametrize("how", NO_MOVES)
def test_as_maps_that_does_more_than_move(name, how):
    with pytest.raises(ValueError, match="must only move"):
        explain(name, Net(), pictures(), as_maps=NO_MOVES[how])


@every_method_of_a_layer
@pytest.mark.parametrize(
    ("as_maps", "error", "said"),
    [
        ("tokens", TypeError, "as_maps is a str"),
        (lambda maps: maps[:, :0], ValueError, "as_maps makes"),
        (lambda maps: maps > 0, ValueError, "must only move"),
        (lambda maps: None, ValueError, "as_maps makes NoneType"),
    ],
)
def test_as_maps_that_makes_no_maps(name, as_maps, error, said):
    with pytest.raises(error, match=said):
        explain(name, Net(), pictures(), as_maps=as_maps)


@every_method_of_a_layer
def test_some_of_the_maps_in_another_order(name):
    if name == "cam":
        pytest.skip("it needs all maps")
    found = explain(name, Net(), pictures(), as_maps=lambda maps: maps.flip(3)[:, 2:])
    assert torch.isfinite(found).all()


class Scripted(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(self.conv(x).relu().mean((2, 3)))


@every_method_of_a_layer
@pytest.mark.parametrize(
    "how", [lambda net: torch.jit.trace(net, pictures()), torch.jit.script], ids=["trace", "script"]
)
@pytest.mark.filterwarnings("ignore:.*torch.jit:")
def test_a_layer_in_compiled_code(name, how):
    with pytest.raises(ValueError, match="inside of a torch.jit module"):
        explain(name, how(Scripted()), pictures())


def test_one_output_that_is_always_one_is_no_softmax():
    x, always_one = pictures(), Net(out=lambda y: y[:, :1] * 0 + y[:, :1] / y[:, :1].detach())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        A.gradient(always_one, x, 0)
