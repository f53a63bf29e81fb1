"""Attention rollout and the relevance of Chefer et al.: by their formulas, however attention is written."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import resnet18, swin_t, vit_b_16

from helpers import attribution
from helpers.hooks import capture, tokens_as_maps
from helpers.models import ShapesViT
from test_contract import assert_same, state

METHODS = {
    "rollout": lambda net, x, target=1, **more: attribution.attention_rollout(net, x, **more),
    "relevance": attribution.attention_relevance,
}
both = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
WAYS = ("softmax", "function", "dot product", "multi-head", "batched", "scaled by hand")


class Attends(nn.Module):
    """One block of attention over 4 x 4 patches of 4 pixels, written in one of several ways; the same weights in each.

    A class token stands before the patches, unless ``skip`` is 0: then the tokens are averaged.
    """

    def __init__(self, way="softmax", skip=1, width=8, heads=2, blocks=2):
        super().__init__()
        torch.manual_seed(3)
        self.way, self.skip, self.heads = way, skip, heads
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.first = nn.Parameter(torch.randn(1, skip, width))
        self.attentions = nn.ModuleList(nn.MultiheadAttention(width, heads, batch_first=True) for _ in range(blocks))
        self.softmax, self.head = nn.Softmax(-1), nn.Linear(width, 3)
        for part in self.attentions:
            nn.init.normal_(part.in_proj_weight, std=0.7)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).mT
        tokens = torch.cat([self.first.expand(len(x), -1, -1), tokens], 1)
        for part in self.attentions:
            tokens = tokens + self.attend(part, tokens).tanh()
        return self.head(tokens[:, 0] if self.skip else tokens.mean(1))

    def attend(self, part, tokens):
        if self.way == "multi-head":
            return part(tokens, tokens, tokens, need_weights=False)[0]
        q, k, v = F.linear(tokens, part.in_proj_weight, part.in_proj_bias).chunk(3, -1)
        q, k, v = (one.unflatten(2, (self.heads, -1)).transpose(1, 2) for one in (q, k, v))
        size = q.shape[-1] ** 0.5
        if self.way == "dot product":
            mixed = F.scaled_dot_product_attention(q, k, v)
        elif self.way == "scaled by hand":
            mixed = F.scaled_dot_product_attention(2 * q, k, v, scale=0.5 / size)
        elif self.way == "batched":
            q, k, v = (one.flatten(0, 1) for one in (q, k, v))
            mixed = torch.bmm(torch.softmax(torch.bmm(q, k.mT) / size, -1), v).unflatten(0, (-1, self.heads))
        else:
            products = q @ k.mT / size
            mixed = (self.softmax(products) if self.way == "softmax" else products.softmax(dim=-1)) @ v
        return part.out_proj(mixed.transpose(1, 2).flatten(2))


def pictures(count=2, side=16):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def weights_in_view(net, x):
    """Return logits and attention of each block, computed in plain lines with a graph."""
    tokens = torch.cat([net.first.expand(len(x), -1, -1), net.patches(x).flatten(2).mT], 1)
    found = []
    for part in net.attentions:
        q, k, v = F.linear(tokens, part.in_proj_weight, part.in_proj_bias).chunk(3, -1)
        q, k, v = (one.unflatten(2, (net.heads, -1)).transpose(1, 2) for one in (q, k, v))
        found.append((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1))
        tokens = tokens + part.out_proj((found[-1] @ v).transpose(1, 2).flatten(2)).tanh()
    return net.head(tokens[:, 0] if net.skip else tokens.mean(1)), found


@pytest.mark.parametrize("skip", [0, 1])
def test_rollout_by_its_formula(skip):
    net, x, I = Attends(skip=skip), pictures(), torch.eye(16 + skip)
    _, (first, second) = weights_in_view(net, x)
    R = (second.mean(1) / 2 + I / 2) @ (first.mean(1) / 2 + I / 2)
    expected = (R[:, 0, 1:] if skip else R.mean(1)).detach().unflatten(1, (4, 4))
    torch.testing.assert_close(attribution.attention_rollout(net, x), expected)


@pytest.mark.parametrize("skip", [0, 1])
def test_relevance_by_its_formula(skip):
    net, x, I = Attends(skip=skip), pictures(), torch.eye(16 + skip)
    logits, attention = weights_in_view(net, x)
    first, second = [
        (A * g).relu().mean(1)
        for A, g in zip(attention, torch.autograd.grad(logits[:, 2].sum(), attention), strict=True)
    ]
    R = (I + first) + second @ (I + first)
    expected = (R[:, 0, 1:] if skip else (R - I).mean(1)).detach().unflatten(1, (4, 4))
    torch.testing.assert_close(attribution.attention_relevance(net, x, 2), expected)
    assert expected.std() > 0


@both
@pytest.mark.parametrize("way", WAYS)
def test_the_same_however_attention_is_written(method, way):
    net, x = Attends(way).eval(), pictures()
    torch.testing.assert_close(net(x), Attends()(x))
    torch.testing.assert_close(method(net, x, 1), method(Attends(), x, 1), rtol=1e-4, atol=1e-6)


@both
def test_a_vision_transformer_of_torchvision(method):
    torch.manual_seed(0)
    net = vit_b_16(weights=None).eval()
    net.encoder.layers = net.encoder.layers[:2]
    nn.init.normal_(net.heads.head.weight)
    maps = method(net, torch.randn(2, 3, 224, 224), 5)
    assert maps.shape == (2, 14, 14) and maps.min() >= 0 and maps.std() > 0


def test_the_attention_is_that_of_torch():
    torch.manual_seed(0)
    part = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    tokens = torch.randn(1, 17, 8)
    shown = part(tokens, tokens, tokens, average_attn_weights=True)[1]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = part

        def forward(self, x):
            return self.part(tokens, tokens, tokens, need_weights=False)[0][:, 0] + x.mean()

    expected = (shown / 2 + torch.eye(17) / 2)[:, 0, 1:].unflatten(1, (4, 4))
    torch.testing.assert_close(attribution.attention_rollout(Net(), pictures(1)), expected.detach())


@both
def test_nothing_is_left_behind(method):
    net, x = Attends("multi-head").train(), pictures().requires_grad_()
    net.patches.requires_grad_(False)
    before = state(net)
    maps = method(net, x, 1)
    assert_same(before, state(net))
    assert x.grad is None and not maps.requires_grad
    with pytest.raises((ValueError, ZeroDivisionError)):
        method(net, x, 1, grid=(3, 3), skip=1)
    assert_same(before, state(net))


@both
def test_a_batch_is_its_pictures_one_by_one(method):
    net, x = Attends(), pictures(3)
    one_by_one = torch.cat([method(net, x[i : i + 1], 1) for i in range(3)])
    torch.testing.assert_close(method(net, x, 1, chunk=2), one_by_one)


def test_targets():
    net, x = Attends(), pictures(3)
    relevance = attribution.attention_relevance
    torch.testing.assert_close(relevance(net, x), relevance(net, x, net(x).argmax(1)))
    torch.testing.assert_close(relevance(net, x, 2), relevance(net, x, lambda logits: logits[:, 2]))
    assert not torch.allclose(relevance(net, x, 0), relevance(net, x, 2))


@both
def test_the_same_however_model_and_caller_come(method):
    x = pictures()
    expected = method(Attends("multi-head").eval(), x, 1)
    torch.testing.assert_close(method(Attends("multi-head").train(), x, 1), expected)
    with torch.no_grad():
        torch.testing.assert_close(method(Attends("multi-head").requires_grad_(False), x, 1), expected)
    net = Attends("multi-head")
    with torch.inference_mode():
        torch.testing.assert_close(method(net, x.clone(), 1).clone(), expected)
    torch.testing.assert_close(method(copy.deepcopy(net).double(), x.double(), 1).float(), expected)
    half = method(copy.deepcopy(net).bfloat16(), x.bfloat16(), 1)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, expected, rtol=0.2, atol=0.02)


def test_more_tokens_before_the_patches():
    net = Attends(skip=5)
    with pytest.raises(ValueError, match=r"21 tokens fit 0 grids.*skip"):
        attribution.attention_rollout(net, pictures())
    assert attribution.attention_rollout(net, pictures(), skip=5, grid=(4, 4)).shape == (2, 4, 4)


@both
def test_what_cannot_be_explained_says_so(method):
    with pytest.raises(ValueError, match="runs no attention"):
        method(resnet18(weights=None), pictures(side=64))
    with pytest.raises(ValueError, match="inside of windows"):
        method(swin_t(weights=None), torch.rand(1, 3, 224, 224))
    with pytest.raises(ValueError, match="grid"):
        method(Attends(), pictures(), 1, grid=(2, 8))
    with pytest.raises(ValueError, match="give at least one"):
        method(Attends(), pictures()[:0])


def test_a_score_without_attention_says_so():
    class Blind(Attends):
        def forward(self, x):
            return 0 * super().forward(x).detach() + x.mean((1, 2, 3))[:, None]

    with pytest.raises(ValueError, match="does not depend on any attention"):
        attribution.attention_relevance(Blind(), pictures())


def test_masked_multi_head_attention_says_so():
    class Masked(Attends):
        def attend(self, part, tokens):
            mask = torch.zeros(tokens.shape[1], tokens.shape[1], dtype=torch.bool)
            return part(tokens, tokens, tokens, attn_mask=mask)[0]

    with pytest.raises(ValueError, match="attn_mask"):
        attribution.attention_rollout(Masked(), pictures())


def test_texts():
    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.words, self.head = nn.Conv1d(6, 8, 1), nn.Linear(8, 2)

        def forward(self, x):
            tokens = self.words(x).mT
            return self.head(F.scaled_dot_product_attention(tokens[:, None], tokens[:, None], tokens[:, None])[:, 0]
                             .mean(1))  # fmt: skip

    x = torch.randn(2, 6, 9)
    assert attribution.attention_rollout(Reads(), x).shape == (2, 9)
    assert attribution.attention_relevance(Reads(), x, 1).shape == (2, 9)


def test_the_course_s_transformer():
    torch.manual_seed(0)
    net, x = ShapesViT().eval(), torch.randn(2, 3, 128, 128)
    with capture(net.blocks[0].attention.softmax) as record:
        logits = net(x)
    torch.testing.assert_close(record.activations.sum(-1), torch.ones(2, 4, 65))
    torch.testing.assert_close(net.head(net.tokens(x)[:, 0]), logits)
    maps = attribution.grad_cam(net, x, 1, layer="blocks.2.norm1", as_maps=tokens_as_maps(), relu=False)
    assert maps.shape == (2, 8, 8) and maps.std() > 0
    assert sum(p.numel() for p in net.parameters()) < 400_000  # less than 1 MB in float16
    with pytest.raises(ValueError, match="5 heads cannot share 64 numbers evenly"):
        ShapesViT(heads=5)
    with torch.no_grad():
        net.position.zero_()  # without it the network could not tell places apart
        assert not torch.allclose(net(x), logits)
