"""Our methods against captum, grad-cam and torchcam, and against identities that need no library."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from helpers import attribution
from helpers.hooks import find_layer
from nets import AVERAGED, LAYERS, pictures, random_net

TARGET = 7
every_net = pytest.mark.parametrize("name", LAYERS)
every_averaging_net = pytest.mark.parametrize("name", AVERAGED)


def without_inplace(net):
    """A copy for libraries that cannot bear in-place ReLUs; ours is run on the original."""
    net = copy.deepcopy(net)
    for module in net.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    return net


def assert_agree(got, expected, tolerance=1e-5):
    """Scale both by the expected map's largest size, then compare."""
    scale = expected.abs().max()
    assert scale > 0
    torch.testing.assert_close(got / scale, expected.detach() / scale, rtol=0, atol=tolerance)


# --- gradients ---


@every_net
def test_gradient_is_captums(name):
    saliency = pytest.importorskip("captum.attr").Saliency
    net, x = random_net(name), pictures()
    expected = saliency(net).attribute(x.clone().requires_grad_(), TARGET, abs=False)
    assert_agree(attribution.gradient(net, x, TARGET), expected)


@pytest.mark.parametrize("name", ["resnet18", "vgg11_bn", "squeezenet1_1"])
@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
def test_modified_relus_are_captums_on_nets_of_modules(name, method):
    captum = pytest.importorskip("captum.attr")
    library = {"guided_backprop": captum.GuidedBackprop, "deconvnet": captum.Deconvolution}[method]
    net, x = random_net(name), pictures()
    expected = library(without_inplace(net)).attribute(x.clone().requires_grad_(), TARGET)
    assert_agree(getattr(attribution, method)(net, x, TARGET), expected)


@pytest.mark.parametrize("name", ["densenet121", "mobilenet_v2"])
def test_known_difference_captum_misses_functional_relus_and_relu6(name):
    captum = pytest.importorskip("captum.attr")
    net, x = random_net(name), pictures()
    theirs = captum.GuidedBackprop(without_inplace(net)).attribute(x.clone().requires_grad_(), TARGET)
    ours = attribution.guided_backprop(net, x, TARGET)
    assert (ours - theirs).abs().max() > 0.01 * theirs.abs().max()
    # Ours is right: with every ReLU made a plain module of its own, captum says the same.
    patched = without_inplace(net)
    if name == "densenet121":
        patched = nn.Sequential(patched.features, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), patched.classifier)
        assert_agree(ours, captum.GuidedBackprop(patched).attribute(x.clone().requires_grad_(), TARGET))


# --- class activation maps ---


@every_averaging_net
@pytest.mark.parametrize("target", [TARGET, torch.tensor([3, 500])], ids=["one class", "a class each"])
def test_cam_is_the_logit_spread_out(name, target):
    net, x = random_net(name), pictures(size=96)
    logits = net(x)
    logit = logits.gather(1, torch.as_tensor(target).expand(2)[:, None])[:, 0]
    linear = [m for m in net.modules() if isinstance(m, nn.Linear)]
    bias = linear[-1].bias[target] if linear else 0
    got = attribution.cam(net, x, target, layer=AVERAGED[name])
    torch.testing.assert_close(got.mean((1, 2)) + bias, logit, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_cam_is_grad_cam_times_places_on_an_averaging_head(name):
    net, x, layer = random_net(name), pictures(size=96), AVERAGED[name]
    grad_cam = attribution.grad_cam(net, x, TARGET, layer=layer, relu=False)
    assert_agree(grad_cam * grad_cam[0].numel(), attribution.cam(net, x, TARGET, layer=layer))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_cam_is_torchcams(name):
    methods = pytest.importorskip("torchcam.methods")
    net, x = random_net(name), pictures(size=96)
    layer = AVERAGED[name]
    head = next(n for n, m in net.named_modules() if isinstance(m, nn.Linear))
    with methods.CAM(net, target_layer=layer, fc_layer=head) as library:
        logits = net(x)
        (expected,) = library(TARGET, logits, normalized=False)
    assert_agree(attribution.cam(net, x, TARGET, layer=layer), expected)


def test_known_difference_a_convolutional_head_has_its_map_after_the_relu():
    """SqueezeNet: class weights times maps, as libraries do it, is another map, and its mean is not the logit."""
    net, x = copy.deepcopy(random_net("squeezenet1_1")), pictures(size=96)
    conv = net.classifier[1]
    torch.manual_seed(0)
    nn.init.normal_(conv.weight, std=0.1)
    nn.init.zeros_(conv.bias)
    logits, maps = net(x), net.features(x)
    # The class whose map has the most evidence against it in some places, which the ReLU cuts off.
    target = int((conv(maps).relu() - conv(maps)).mean((0, 2, 3)).where(logits.amin(0) > 0, 0).argmax())
    ours = attribution.cam(net, x, target, layer="features")
    torch.testing.assert_close(ours, conv(maps).relu()[:, target])
    torch.testing.assert_close(ours.mean((1, 2)), logits[:, target])
    weights_times_maps = torch.einsum("k,nkij->nij", conv.weight[target, :, 0, 0], maps)
    gap = weights_times_maps.mean((1, 2)) - logits[:, target]
    assert gap.abs().max() > 0.1 * logits[:, target].max()


@every_net
def test_grad_cam_is_its_definition(name):
    """Trunk and head called one after the other, without any hook, and with an ordinary ReLU where the net has one."""
    net, x = random_net(name), pictures(size=96)
    trunk_and_head = {
        "resnet18": lambda n: (
            nn.Sequential(n.conv1, n.bn1, n.relu, n.maxpool, n.layer1, n.layer2, n.layer3, n.layer4),
            lambda a: n.fc(n.avgpool(a).flatten(1)),
        ),
        "vgg11_bn": lambda n: (n.features, lambda a: n.classifier(n.avgpool(a).flatten(1))),
        "densenet121": lambda n: (n.features, lambda a: n.classifier(F.relu(a).mean((2, 3)))),
        "squeezenet1_1": lambda n: (n.features, lambda a: n.classifier(a).flatten(1)),
        "mobilenet_v2": lambda n: (n.features, lambda a: n.classifier(a.mean((2, 3)))),
    }
    trunk, head = trunk_and_head[name](net)
    maps = trunk(x).detach().requires_grad_()
    (gradients,) = torch.autograd.grad(head(maps)[:, TARGET].sum(), maps)
    expected = (gradients.mean((2, 3), keepdim=True) * maps).sum(1)
    assert_agree(attribution.grad_cam(net, x, TARGET, layer=LAYERS[name], relu=False), expected)
    assert_agree(attribution.grad_cam(net, x, TARGET, layer=LAYERS[name]), expected.relu())


@pytest.mark.parametrize("name", ["resnet18", "vgg11_bn", "squeezenet1_1", "mobilenet_v2"])
def test_grad_cam_is_captums(name):
    captum = pytest.importorskip("captum.attr")
    net, x, layer = random_net(name), pictures(size=96), LAYERS[name]
    plain = without_inplace(net)
    expected = captum.LayerGradCam(plain, find_layer(plain, layer)).attribute(x, TARGET)[:, 0]
    assert_agree(attribution.grad_cam(net, x, TARGET, layer=layer, relu=False), expected)


@pytest.mark.parametrize("name", ["resnet18", "vgg11_bn", "mobilenet_v2"])
def test_grad_cam_is_the_grad_cam_packages_after_its_scaling(name):
    library = pytest.importorskip("pytorch_grad_cam")
    from pytorch_grad_cam.utils.image import scale_cam_image
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    net, x, layer = random_net(name), pictures(size=96), LAYERS[name]
    with library.GradCAM(net, [find_layer(net, layer)]) as theirs:
        expected = theirs(x, [ClassifierOutputTarget(TARGET)] * 2)
    raw = attribution.grad_cam(net, x, TARGET, layer=layer).numpy()
    ours = scale_cam_image(scale_cam_image(raw, (96, 96)))
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "vgg11_bn", "squeezenet1_1", "mobilenet_v2"])
def test_grad_cam_is_torchcams(name):
    methods = pytest.importorskip("torchcam.methods")
    net, x, layer = random_net(name), pictures(size=96), LAYERS[name]
    with methods.GradCAM(net, target_layer=layer) as library:
        logits = net(x)
        (expected,) = library(TARGET, logits, normalized=False)
    assert_agree(attribution.grad_cam(net, x, TARGET, layer=layer), expected)


@pytest.mark.parametrize("library", ["pytorch_grad_cam", "torchcam"])
def test_known_difference_a_layer_before_an_in_place_relu(library):
    """densenet121 ends in F.relu(features, inplace=True): libraries that store no copy explain overwritten maps."""
    net, x = random_net("densenet121"), pictures(size=96)
    ours = attribution.grad_cam(net, x, TARGET, layer="features")
    if library == "torchcam":
        methods = pytest.importorskip("torchcam.methods")
        with methods.GradCAM(net, target_layer="features") as theirs:
            (got,) = theirs(TARGET, net(x), normalized=False)
        difference = (got.detach() - ours).abs().max() / ours.abs().max()
    else:
        cam = pytest.importorskip("pytorch_grad_cam")
        from pytorch_grad_cam.utils.image import scale_cam_image
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        with cam.GradCAM(net, [net.features]) as theirs:
            got = theirs(x, [ClassifierOutputTarget(TARGET)] * 2)
        difference = np.abs(got - scale_cam_image(scale_cam_image(ours.numpy(), (96, 96)))).max()
    assert difference > 0.05, "the library stores a copy now: move this pair to the tests of agreement"


def test_bias_free_relu_net_gradient_times_input_is_the_logit():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * 49, 5, bias=False),
    )
    x = pictures(size=16)
    g = attribution.gradient(net, x, 2)
    torch.testing.assert_close((g * x).sum((1, 2, 3)), net(x)[:, 2])


def test_permuting_hidden_units_changes_no_explanation():
    net, x = random_net("vgg11_bn"), pictures()
    shuffled = copy.deepcopy(net)
    first, second = shuffled.classifier[0], shuffled.classifier[3]
    order = torch.randperm(first.out_features, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        first.weight.copy_(first.weight[order].clone())
        first.bias.copy_(first.bias[order].clone())
        second.weight.copy_(second.weight[:, order].clone())
    for method in (attribution.gradient, attribution.guided_backprop):
        assert_agree(method(shuffled, x, TARGET), method(net, x, TARGET), tolerance=1e-4)
    assert_agree(
        attribution.grad_cam(shuffled, x, TARGET, layer="features"),
        attribution.grad_cam(net, x, TARGET, layer="features"),
        tolerance=1e-4,  # sums over the units in another order
    )
