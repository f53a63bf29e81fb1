"""split_at: a network cut behind a layer is the same network, however its code is written, and nothing stays behind."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from helpers import attribution
from helpers.hooks import find_layer, split_at
from helpers.hooks.split import split_by_graph, split_by_hook
from nets import RELU_STYLES, Tiny, pictures, random_net
from test_hooks import hooks_of

# net -> layers behind a stage, before an in-place ReLU, and inside a block that something by-passes
PLACES = {
    "resnet18": ["layer4", "layer3.1.bn1", "layer2.0.conv2", "layer4.0.downsample", "relu", "fc"],
    "vgg11": ["features", "features.3", "features.4", "classifier.3"],
    "densenet121": ["features", "features.denseblock4.denselayer16.conv2", "features.denseblock1.denselayer2.norm1"],
    "squeezenet1_1": ["features", "features.12.expand1x1", "classifier.1"],
    "mobilenet_v2": ["features", "features.17.conv.1", "features.3.conv.0.1"],
    "convnext_tiny": ["features.5.2.block.0", "features.7"],
    "efficientnet_b0": ["features.6.1.block.1", "features.6.1.block.2.avgpool", "features.8"],
}


def assert_whole(net, layer, x, tolerance=1e-5):
    """The halves give the logits and the layer's maps, twice, and leave what they are given as it was."""
    module, seen = find_layer(net, layer), []
    with torch.no_grad():
        with module.register_forward_hook(lambda *call: seen.append(call[2].clone())):
            logits = net(x)
        trunk, head = split_at(net, layer)
        given = trunk(x)
        assert trunk.carries == len(given) - 1
        torch.testing.assert_close(given[0], seen[-1], rtol=tolerance, atol=tolerance)
        before = [tensor.clone() for tensor in given]
        for _ in range(2):
            torch.testing.assert_close(head(*given), logits, rtol=10 * tolerance, atol=tolerance)
            assert all(map(torch.equal, before, given))
    return trunk, head


@pytest.mark.parametrize(("name", "layer"), [(name, layer) for name in PLACES for layer in PLACES[name]])
def test_torchvisions_nets_are_cut_along_their_graph(name, layer):
    net, x = random_net(name), pictures(2, 64)
    before = x.clone()
    trunk, head = assert_whole(net, layer, x)
    assert isinstance(head, torch.fx.GraphModule)
    assert torch.equal(x, before) and hooks_of(net) == 0
    with torch.no_grad():  # other maps: as when the whole net runs and they are put in
        maps, *carried = trunk(x)
        changed = maps[[0, 0, 1]] * torch.tensor([0.0, 0.5, 2.0]).view(3, *[1] * (maps.dim() - 1))
        got = head(changed, *(tensor[[0, 0, 1]] for tensor in carried))
        slow_trunk, slow_head = split_by_hook(net, find_layer(net, layer))
        slow_trunk(x)
        torch.testing.assert_close(got, slow_head(changed, x[[0, 0, 1]]), rtol=1e-4, atol=1e-5)


def test_the_head_does_not_run_the_trunk_again():
    net, x, runs = random_net("resnet18"), pictures(), []
    trunk, head = split_at(net, "layer4")
    with torch.no_grad(), net.conv1.register_forward_hook(lambda *_: runs.append(1)):
        given = trunk(x)
        assert len(given) == 1 and len(runs) == 1
        head(*given)
    assert len(runs) == 1


@pytest.mark.parametrize("style", RELU_STYLES)
@pytest.mark.parametrize("layer", ["conv1", "conv2", "act"])
def test_however_its_relus_are_written(style, layer):
    net = Tiny(style).eval()
    if layer == "act" and style in ("functional", "method", "torch"):
        trunk, _ = split_at(net, layer)
        with pytest.raises(ValueError, match="never calls this ReLU"):
            trunk(pictures())
    else:
        assert_whole(net, layer, pictures())


class Written(nn.Module):
    """A small net whose way from ``conv`` to the logits is written by the test."""

    def __init__(self, way):
        super().__init__()
        torch.manual_seed(0)
        self.before, self.conv = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.act, self.fc, self.way = nn.ReLU(inplace=True), nn.Linear(4, 5), way
        self.register_buffer("scale", torch.rand(1, 4, 1, 1))

    def forward(self, x):
        return self.way(self, self.before(x))


def ends(net, z):
    return net.fc(z.mean((2, 3)))


def looks_at_numbers(net, x):
    z = net.conv(x)
    return ends(net, z if z.mean() > 1e9 else z.relu())


def changes_unseen(net, x):
    z = net.conv(x)
    z.relu_()
    return ends(net, z)


def changes_unseen_by_module(net, x):
    z = net.conv(x)
    net.act(z)
    return ends(net, z)


def writes_into(net, x):
    z = net.conv(x)
    z[:, 0] = 0
    return ends(net, z)


FOLLOWED = {
    "dropout of functional": lambda net, x: ends(net, F.dropout(net.conv(x), training=net.training)),
    "a shortcut changed in place": lambda net, x: ends(net, x.add_(net.conv(x).relu_())),
    "the layer three times": lambda net, x: ends(net, net.act(net.conv(net.conv(net.conv(x)).relu()))),
    "sizes taken before": lambda net, x: net.fc(net.conv(x).view(x.size(0), 4, -1).sum(-1) / x.shape[-1]),
    "a size of the batch before": lambda net, x: ends(net, net.conv(x) * net.scale.expand(x.size(0), 4, 1, 1)),
    "constants": lambda net, x: ends(net, net.conv(x) * torch.tensor([1.0, 2.0, 3.0, 4.0]).view(4, 1, 1)),
    "parameters": lambda net, x: ends(net, net.conv(x) * net.before.bias.view(4, 1, 1)),
    "a branch behind the layer's turn": lambda net, x: ends(net, net.conv(x) + F.relu(x * 2)),
}


def asks_for_numbers(net, x):
    return ends(net, net.conv(x) + torch.ones(x.shape[0], 4, 1, 1))


NOT_FOLLOWED = {
    function.__name__: function
    for function in (looks_at_numbers, asks_for_numbers, changes_unseen, changes_unseen_by_module, writes_into)
}


@pytest.mark.parametrize("way", FOLLOWED.values(), ids=FOLLOWED)
def test_code_that_can_be_followed(way):
    net, x = Written(way).eval(), pictures()
    before = set(vars(net))
    trunk, head = assert_whole(net, "conv", x)
    assert isinstance(head, torch.fx.GraphModule), "the short way was not found"
    assert set(vars(net)) == before and hooks_of(net) == 0
    with torch.no_grad():  # more rows than pictures
        rows = torch.tensor([1, 0, 0, 1, 1])
        many = head(*(tensor[rows] for tensor in trunk(x)))
        torch.testing.assert_close(many, net(x)[rows])


@pytest.mark.parametrize("way", NOT_FOLLOWED.values(), ids=NOT_FOLLOWED)
def test_code_that_cannot_be_followed_takes_the_safe_way(way):
    net, x = Written(way).eval(), pictures()
    trunk, head = assert_whole(net, "conv", x)
    assert not isinstance(head, torch.fx.GraphModule)
    rows = torch.tensor([1, 0, 0])
    with torch.no_grad():
        torch.testing.assert_close(head(*(tensor[rows] for tensor in trunk(x))), net(x)[rows])
        assert not torch.allclose(head(trunk(x)[0] * 0, x), net(x))
    assert hooks_of(net) == 0


def test_the_safe_way_replaces_the_last_of_several_runs():
    net, x = Written(FOLLOWED["the layer three times"]).eval(), pictures()
    with torch.no_grad():
        trunk, head = split_at(net, "conv", follow=False)
        _, quick_head = split_at(net, "conv")
        maps, carried = trunk(x)
        torch.testing.assert_close(head(maps * 2, carried), quick_head(maps * 2))


@pytest.mark.parametrize("follow", [True, False])
def test_a_net_that_works_in_place_on_its_pictures_cannot_spoil_them(follow):
    torch.manual_seed(0)
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    x, before = pictures(), pictures()
    trunk, head = split_at(net, "1", follow=follow)
    with torch.no_grad():
        head(*trunk(x))
    assert torch.equal(x, before)


def test_a_forward_of_the_instance_and_hooks_of_the_model_count():
    net, x = Tiny().eval(), pictures()
    with net.register_forward_hook(lambda module, inputs, output: output * 2):
        assert_whole(net, "conv2", x)
    plain = copy.deepcopy(net)
    net.forward = lambda x: plain.forward(x) + net.fc(net.conv2(net.conv1(x)).mean((2, 3)))
    assert_whole(net, "conv2", x)


def test_gradients_flow_through_the_head():
    net, x = Tiny("in-place").eval(), pictures()
    trunk, head = split_at(net, "conv2")
    maps = trunk(x)[0].detach().requires_grad_()
    (gradient,) = torch.autograd.grad(head(maps)[:, 1].sum(), maps)
    torch.testing.assert_close(
        (gradient.mean((2, 3))[..., None, None] * maps).sum(1).relu().detach(),
        attribution.grad_cam(net, x, 1, layer="conv2"),
    )


def test_a_layer_that_the_model_does_not_have():
    with pytest.raises(ValueError, match="has no layer 'conv3'; it has 'conv2'"):
        split_at(Tiny(), "conv3")


def test_the_graph_alone_says_when_it_cannot():
    with pytest.raises(ValueError, match="Nobody uses the result"):
        split_by_graph(net := Written(changes_unseen), net.conv)


class Suspicious(Tiny):
    """Asks what it is given, and takes a stand-in for something else."""

    def forward(self, x):
        maps = self.conv2(self.conv1(x).relu())
        return self.fc((maps.relu() if isinstance(maps, torch.Tensor) else maps).mean((2, 3))) + 1


def test_ablation_cam_notices_a_wrong_cut():
    net, x = Suspicious().eval(), pictures()
    trunk, head = split_at(net, "conv2")
    with torch.no_grad():
        assert not torch.allclose(head(*trunk(x)), net(x), atol=1e-3), "this net no longer fools torch.fx"
    right = Tiny().eval()
    right.fc.bias.data += 1
    expected = attribution.ablation_cam(right, x, 1, layer="conv2")
    torch.testing.assert_close(attribution.ablation_cam(net, x, 1, layer="conv2"), expected)
