"""The CAM family, Guided Grad-CAM and FullGrad against grad-cam, torchcam and captum, and against identities."""

import copy
from contextlib import ExitStack

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_agreement import assert_agree, without_inplace
from torch import nn

from helpers import attribution
from helpers.attribution._speed import folded
from helpers.hooks import capture, find_layer
from nets import AVERAGED, LAYERS, MORE, Tiny, pictures, random_net

THEIRS = {
    "grad_cam": "GradCAM",
    "grad_cam_plus_plus": "GradCAMPlusPlus",
    "layer_cam": "LayerCAM",
    "hires_cam": "HiResCAM",
    "xgrad_cam": "XGradCAM",
}
# densenet's last layer is followed by a ReLU in place, which the libraries cannot bear: the one before it.
PLACES = {**LAYERS, **MORE, "densenet121": "features.denseblock4"}
del PLACES["vgg11_bn"]  # vgg16_bn is there
SIDE = 96  # of pictures; mobilenet's map is so flat at this size that scaling it multiplies the rounding errors
SIZES = {"mobilenet_v2": 224}
EARLY = {"resnet18": "layer1", "squeezenet1_1": "features.3.squeeze_activation", "mobilenet_v2": "features.0"}


@pytest.fixture(autouse=True)
def without_bars(monkeypatch):
    """grad-cam shows one for each picture."""
    monkeypatch.setattr("tqdm.tqdm", lambda steps, *args, **kwargs: steps)


def package(method, net, layer, x, target):
    """A method of the grad-cam package: maps of the pictures' size, scaled to [0, 1]."""
    library = pytest.importorskip("pytorch_grad_cam")
    with getattr(library, method)(net, [find_layer(net, layer)]) as theirs:
        return torch.from_numpy(theirs(x, [lambda logits, c=c: logits[c] for c in target]))


def scaled(maps, size):
    """Raw maps as the grad-cam package gives them: cut off at zero, scaled, enlarged, scaled."""
    from pytorch_grad_cam.utils.image import scale_cam_image

    return torch.from_numpy(scale_cam_image(scale_cam_image(np.maximum(maps.numpy(), 0), (size, size))))


def three(name, size):
    """A net, three pictures, and a class for each: the first's best, the second's second, the third's third."""
    net, x = random_net(name), pictures(3, size)
    with torch.no_grad():
        ranks = net(x).argsort(1, descending=True)
    return net, x, ranks[range(3), range(3)]


# --- gradient CAMs ---


@pytest.mark.parametrize("name", PLACES)
def test_gradient_cams_are_torchcams_and_the_grad_cam_packages(name):
    """One pass of each library; of grad-cam all five formulas are then asked of the maps and gradients it took."""
    methods, library = pytest.importorskip("torchcam.methods"), pytest.importorskip("pytorch_grad_cam")
    layer, size = PLACES[name], SIZES.get(name, SIDE)
    net, x, target = three(name, size)
    with ExitStack() as stack:
        kinds = {"grad_cam": methods.GradCAM, "layer_cam": methods.LayerCAM, "xgrad_cam": methods.XGradCAM}
        torchcams = {ours: stack.enter_context(kind(net, layer)) for ours, kind in kinds.items()}
        maps = stack.enter_context(capture(find_layer(net, layer)))
        logits = net(x)
        # So large a multiple of the logits that the 1e-6 which grad-cam adds in Grad-CAM++ does not show
        factor = 1e4 / maps.gradient(logits.gather(1, target[:, None])).abs().amax((1, 2, 3)).min().item()
        expected = {
            ours: theirs(target.tolist(), factor * logits, normalized=False, retain_graph=True)[0]
            for ours, theirs in torchcams.items()
        }
    got = attribution.gradient_cams(net, x, lambda y: factor * y.gather(1, target[:, None])[:, 0], layer=layer)
    assert list(got) == list(THEIRS)
    # mobilenet's Grad-CAM++ is so flat that scaling it to [0, 1] multiplies the rounding errors.
    tolerances = dict.fromkeys(THEIRS, 1e-5) | {"grad_cam_plus_plus": 3e-5}
    if maps.activations.min() < 0:  # densenet, convnext, efficientnet: the sums by which two methods divide may cancel
        tolerances |= {"grad_cam_plus_plus": 1e-3, "xgrad_cam": 1e-3}
    for ours in expected:
        assert_agree(got[ours], expected[ours], tolerances[ours])

    with library.GradCAM(net, [find_layer(net, layer)]) as first:
        first(x, [lambda y, c=c: factor * y[c] for c in target])
        taken = first.activations_and_grads
        A, G = taken.activations[0].numpy(), taken.gradients[0].numpy()
    for ours, kind in THEIRS.items():
        theirs = torch.from_numpy(getattr(library, kind)(net, []).get_cam_image(x, None, None, A, G, False))
        gap = (scaled(got[ours], size) - scaled(theirs, size)).abs().max()
        assert gap < tolerances[ours], ours


@pytest.mark.parametrize("ours", THEIRS)
def test_each_gradient_cam_is_the_grad_cam_packages_call(ours):
    net, x, target = three("squeezenet1_1", 224)
    big = copy.deepcopy(net)
    for parameter in big.classifier[1].parameters():
        parameter.data *= 1e6
    got = getattr(attribution, ours)(big, x, target, layer="features")
    expected = package(THEIRS[ours], big, "features", x, target)
    torch.testing.assert_close(scaled(got, 224), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(got, attribution.gradient_cams(big, x, target, layer="features")[ours], rtol=0, atol=0)


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "mobilenet_v2"])
def test_grad_cam_before_its_relu_is_captums(name):
    captum = pytest.importorskip("captum.attr")
    net, x, target = three(name, SIDE)
    plain = without_inplace(net)
    expected = captum.LayerGradCam(plain, find_layer(plain, LAYERS[name])).attribute(x, target)[:, 0]
    assert_agree(attribution.grad_cam(net, x, target, layer=LAYERS[name], relu=False), expected)


@pytest.mark.parametrize("name", ["resnet18", "vgg11", "squeezenet1_1"])
def test_guided_grad_cam_is_captums_with_bilinear_enlargement(name):
    captum = pytest.importorskip("captum.attr")
    net, x, target = three(name, 96)
    plain = without_inplace(net)
    library = captum.GuidedGradCam(plain, find_layer(plain, PLACES[name]))
    expected = library.attribute(x, target, interpolate_mode="bilinear")
    got = attribution.guided_grad_cam(net, x, target, layer=PLACES[name])
    assert got.shape == x.shape
    assert_agree(got, expected)


def test_known_difference_torchcams_grad_cam_plus_plus_loses_its_division():
    """It divides a copy, and multiplies the gradients by gradient^2 instead: here that is grad^3, and another map."""
    methods = pytest.importorskip("torchcam.methods")
    net, x, target = three("resnet18", SIDE)
    with methods.GradCAMpp(net, "layer4") as library:
        (theirs,) = library(target.tolist(), net(x), normalized=False)
    ours = attribution.grad_cam_plus_plus(net, x, target, layer="layer4")
    gap = (theirs / theirs.amax((1, 2), True) - ours / ours.amax((1, 2), True)).abs().max()
    assert gap > 0.01, "torchcam divides now: move it to the tests of agreement"


def test_grad_cam_plus_plus_by_hand():
    """Two places, one map: A = (1, 3), G = (0.5, -1) -> a = 0.25 / (0.5 + 4 * 0.125), w = 0.25 * 0.5."""
    head = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(2, 1, bias=False))
    head[2].weight.data = torch.tensor([[0.5, -1.0]])
    got = attribution.grad_cam_plus_plus(head, torch.tensor([[[[1.0, 3.0]]]]), 0, layer="0")
    torch.testing.assert_close(got, torch.tensor([[[0.125, 0.375]]]))


# --- CAMs without gradients ---


@pytest.mark.parametrize("name", EARLY)
def test_score_cam_is_the_grad_cam_packages(name):
    net, x, target = three(name, 64)
    expected = package("ScoreCAM", net, EARLY[name], x, target)
    got = attribution.score_cam(net, x, target, layer=EARLY[name], align_corners=True, chunk=50)
    torch.testing.assert_close(scaled(got, 64), expected, rtol=0, atol=1e-5)


def test_score_cam_is_torchcams_where_the_masks_are_scaled_last():
    """A known difference: torchcam scales a map to [0, 1] before it enlarges it, which then no longer fills [0, 1]."""
    methods = pytest.importorskip("torchcam.methods")
    net, x, target = three("squeezenet1_1", 64)
    layer = EARLY["squeezenet1_1"]

    class InOrder(methods.ScoreCAM):
        def _upsample(self, maps):
            return self._normalize(super()._upsample(maps), 2)

    ours = attribution.score_cam(net, x, target, layer=layer)
    for kind in (InOrder, methods.ScoreCAM):
        with kind(net, layer) as library, torch.no_grad():
            net(x)
            (theirs,) = library(target.tolist(), normalized=False)
        if kind is InOrder:
            assert_agree(ours, theirs)
    assert (ours - theirs).abs().max() > 0.01 * theirs.max(), "torchcam scales last now: one test will do"


@pytest.mark.parametrize("name", EARLY)
def test_ablation_cam_is_the_grad_cam_packages_behind_a_relu(name):
    net, x, target = three(name, 64)
    expected = package("AblationCAM", net, EARLY[name], x, target)
    got = attribution.ablation_cam(net, x, target, layer=EARLY[name], chunk=50)
    # Weights are differences of nearly equal scores: mobilenet's are some 1e-3 of them, in float32.
    torch.testing.assert_close(scaled(got, 64), expected, rtol=0, atol=1e-4 if name == "mobilenet_v2" else 2e-5)


def test_known_difference_grad_cams_ablation_behind_a_gelu():
    """Where a map may be negative, grad-cam puts -1e7 in its place, which no network has ever seen."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)).eval()
    net[4].bias.data += 2
    x, target = pictures(3, 16), torch.tensor([0, 1, 3])
    ours = attribution.ablation_cam(net, x, target, layer="1")
    assert (package("AblationCAM", net, "1", x, target) - scaled(ours, 16)).abs().max() > 0.05
    y, maps = net(x).gather(1, target[:, None]), net[:2](x)
    closed = torch.einsum("nk,nkij->nij", net[4].weight[target] * maps.mean((2, 3)) / y, maps).relu()
    torch.testing.assert_close(ours, closed.detach())


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "mobilenet_v2", "densenet121", "efficientnet_b0"])
def test_eigen_cam_is_the_grad_cam_packages_up_to_its_sign(name):
    net, x, target = three(name, 128)
    theirs = package("EigenCAM", net, PLACES[name], x, target)
    ours = attribution.eigen_cam(net, x, layer=PLACES[name])
    gaps = [(scaled(sign * ours, 128) - theirs).abs().amax((1, 2)) for sign in (1, -1)]
    assert torch.minimum(*gaps).max() < 1e-5


@pytest.mark.parametrize("shape", [(4, 30, 5, 4), (4, 3, 5, 4)], ids=["places", "channels"])
def test_eigen_cam_is_the_first_principal_component(shape):
    """By the singular values of the centred maps, whichever Gram matrix is the smaller; its sign follows the maps."""
    maps = torch.rand(shape, generator=torch.Generator().manual_seed(0)).double()
    net = nn.Sequential(nn.Identity(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    got = attribution.eigen_cam(net, maps, layer="0").flatten(1)
    flat = maps.flatten(2) - maps.flatten(2).mean(2, keepdim=True)
    _, values, right = torch.linalg.svd(flat)
    torch.testing.assert_close(got.abs(), (values[:, :1] * right[:, 0]).abs())
    assert ((got * flat.sum(1)).sum(1) > 0).all()
    torch.testing.assert_close(attribution.eigen_cam(net, -maps, layer="0").flatten(1), -got)


def test_eigen_cam_knows_no_class_and_says_when_there_is_nothing_to_find():
    net, x = random_net("squeezenet1_1"), pictures()
    one, other = (attribution.eigen_cam(net, x, c, layer="features") for c in (1, 700))
    assert torch.equal(one, other)
    with pytest.raises(ValueError, match="same at all places"):
        attribution.eigen_cam(net, x * 0, layer="classifier.3")


def test_known_difference_grad_cams_guided_backprop_doubles_when_called_twice():
    guided = pytest.importorskip("pytorch_grad_cam").GuidedBackpropReLUModel
    net, x = without_inplace(random_net("squeezenet1_1")), pictures(1)
    library, again = guided(net, "cpu"), x.clone().requires_grad_()
    first, second = (library(again, target_category=7).copy() for _ in range(2))
    ours = attribution.guided_backprop(net, x, 7)[0].permute(1, 2, 0)
    assert_agree(ours, torch.from_numpy(first))
    assert_agree(2 * ours, torch.from_numpy(second))


# --- identities, in double precision ---


def double(name):
    return copy.deepcopy(random_net(name)).double()


@pytest.mark.parametrize("name", AVERAGED)
def test_on_a_head_that_averages_the_cams_are_one(name):
    """HiResCAM = Grad-CAM, h * w * Grad-CAM = CAM, and XGrad-CAM has HiResCAM's sum."""
    net, x, layer = double(name), pictures(3, 64).double(), AVERAGED[name]
    target = torch.tensor([3, 500, 7])
    if name == "squeezenet1_1":  # with one more layer before the average, only where its ReLU is open
        net.classifier[1].bias.data += 10
    if name == "densenet121":  # the layer itself is before a ReLU
        net, layer = nn.Sequential(net.features, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), net.classifier), "1"
    signed = attribution.gradient_cams(net, x, target, layer=layer, relu=False)
    torch.testing.assert_close(signed["hires_cam"], signed["grad_cam"])
    torch.testing.assert_close(signed["xgrad_cam"].sum((1, 2)), signed["hires_cam"].sum((1, 2)))
    if name != "squeezenet1_1":
        cam = attribution.cam(net, x, target, layer=layer)
        torch.testing.assert_close(signed["grad_cam"] * cam[0].numel(), cam)
    for method in ("grad_cam", "hires_cam", "xgrad_cam"):
        positive = getattr(attribution, method)(net, x, target, layer=layer)
        torch.testing.assert_close(positive, signed[method].relu())


def test_hires_cam_holds_the_logit_of_any_linear_head_and_grad_cam_does_not():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 4)).double()
    x = pictures(3, 8).double()
    logits = net(x)[:, 2] - net[3].bias[2]
    maps = attribution.gradient_cams(net, x, 2, layer="1", relu=False)
    torch.testing.assert_close(maps["hires_cam"].sum((1, 2)), logits.detach())
    assert ((maps["grad_cam"].sum((1, 2)) - logits).abs() > 0.01 * logits.abs()).all()


def test_ablation_cam_on_a_head_that_averages_has_a_closed_form():
    net, x, layer = double("resnet18"), pictures(3, 64).double(), "layer4"
    with torch.no_grad(), capture(find_layer(net, layer)) as maps:
        logits = net(x)
    target = logits.topk(3).indices[range(3), range(3)]
    weights = net.fc.weight[target] * maps.activations.mean((2, 3)) / logits.gather(1, target[:, None])
    closed = torch.einsum("nk,nkij->nij", weights, maps.activations).detach()
    got = attribution.ablation_cam(net, x, target, layer=layer, relu=False, chunk=1000)
    torch.testing.assert_close(got, closed)
    torch.testing.assert_close(attribution.ablation_cam(net, x, target, layer=layer), closed.relu())


def test_ablation_cam_inside_a_block_is_brute_force():
    net, x, layer = double("resnet18"), pictures(2, 48).double(), "layer1.1.bn1"  # a shortcut by-passes it
    for stage in (net.layer2, net.layer3, net.layer4):
        del stage[1]
    module = find_layer(net, layer)
    with torch.no_grad(), capture(module) as maps:
        y = net(x).amax(1)
        target, A = net(x).argmax(1), maps.activations
        dead = A.clone()
        weights = torch.zeros_like(A[:, :, 0, 0])
        for k in range(0, 64, 9):
            dead = A.clone()
            dead[:, k] = 0
            with module.register_forward_hook(lambda *_, changed=dead: changed):
                weights[:, k] = (y - net(x).gather(1, target[:, None])[:, 0]) / y
    got = attribution.ablation_cam(net, x, target, layer=layer, relu=False, chunk=37)
    seen = torch.linalg.lstsq(A.flatten(2).mT, got.flatten(1)[..., None]).solution[..., 0]  # the weights it had
    torch.testing.assert_close(seen[:, ::9], weights[:, ::9])


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "squeezenet1_1"])
def test_full_gradients_add_up_to_the_logit(name):
    net, x, target = double(name), pictures(3, 64).double(), torch.tensor([3, 500, 7])
    if name == "squeezenet1_1":
        net.classifier[1].bias.data += 10
    of_input, of_biases = attribution.full_gradients(net, x, target)
    total = of_input.sum((1, 2, 3)) + sum(part.flatten(1).sum(1) for part in of_biases.values())
    torch.testing.assert_close(total, net(x).gather(1, target[:, None])[:, 0].detach())
    assert not any(part.requires_grad for part in of_biases.values())
    with_bias = [
        layer
        for layer, module in net.named_modules()
        if isinstance(module, nn.BatchNorm2d) or getattr(module, "bias", None) is not None
    ]
    assert sorted(of_biases) == sorted(with_bias)
    in_float = attribution.full_grad(net.float(), x.float(), target)
    assert in_float.shape == (3, 64, 64) and in_float.min() >= 0


def test_full_grad_by_hand():
    """1x1 convolution (2, bias 1), ReLU, average, linear (3, bias 5): y = 3 mean(2x + 1) + 5, where 2x + 1 > 0."""
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 1))
    for module, weight, bias in ((net[0], 2.0, 1.0), (net[4], 3.0, 5.0)):
        nn.init.constant_(module.weight, weight)
        nn.init.constant_(module.bias, bias)
    x = torch.tensor([[[[1.0, -0.25], [-2.0, 0.0]]]])
    of_input, of_biases = attribution.full_gradients(net, x, 0)
    torch.testing.assert_close(of_input[0, 0], torch.tensor([[1.5, -0.375], [0.0, 0.0]]))
    torch.testing.assert_close(of_biases["0"][0, 0], torch.tensor([[0.75, 0.75], [0.0, 0.75]]))
    assert of_biases["4"].tolist() == [[5.0]]
    torch.testing.assert_close(attribution.full_grad(net, x, 0)[0], torch.tensor([[2.25, 1.125], [0.0, 0.75]]))


def test_full_grad_keeps_a_layers_total_when_it_enlarges_its_map():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    net, x = net.double(), pictures(2, 32).double()
    of_input, of_biases = attribution.full_gradients(net, x, 1)
    total = of_input.abs().sum((1, 2, 3)) + of_biases["0"].abs().sum((1, 2, 3))
    torch.testing.assert_close(attribution.full_grad(net, x, 1).sum((1, 2)), total, rtol=0.02, atol=0)


class Reused(Tiny):
    """One convolution that runs twice, and a batch norm without scale or shift."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(8, affine=False)
        nn.init.uniform_(self.norm.running_mean)

    def forward(self, x):
        maps = self.norm(self.conv1(x)).relu()
        return self.fc(self.conv2(self.conv2(maps).relu()).relu().mean((2, 3)))


def test_full_gradients_of_a_layer_that_runs_twice():
    net, x = Reused().eval().double(), pictures().double()
    of_input, of_biases = attribution.full_gradients(net, x, 2)
    assert sorted(of_biases) == ["conv1", "conv2", "conv2, run 2", "fc", "norm"]
    total = of_input.sum((1, 2, 3)) + sum(part.flatten(1).sum(1) for part in of_biases.values())
    torch.testing.assert_close(total, net(x)[:, 2].detach())


@pytest.mark.parametrize(("name", "curved"), [("convnext_tiny", "LayerNorm"), ("efficientnet_b0", "SiLU")])
def test_full_grad_says_where_it_is_not_defined(name, curved):
    with pytest.raises(ValueError, match=f"do not add up to the score.*has {curved}.*integrated_gradients"):
        attribution.full_grad(random_net(name), pictures(size=64), 7)


def test_full_grad_says_so_too_where_no_module_tells():
    net = Tiny().eval()
    net.forward = lambda x: net.fc(F.gelu(net.conv1(x)).mean((2, 3)))
    with pytest.raises(ValueError, match="Tiny has something else"):
        attribution.full_gradients(net, pictures(), 1)
    with pytest.raises(ValueError, match="without a constant"):
        attribution.full_gradients(Tiny(), pictures(), lambda logits: logits[:, 0] + 1)


# --- what a map must not depend on, and maps that could spoil it ---


def methods(chunk=64):
    family = {name: getattr(attribution, name) for name in (*THEIRS, "guided_grad_cam", "eigen_cam")}
    return family | {
        "score_cam": lambda *a, **k: attribution.score_cam(*a, chunk=chunk, **k),
        "ablation_cam": lambda *a, **k: attribution.ablation_cam(*a, chunk=chunk, **k),
    }


def positive_net(dead=()):
    """Convolution, ReLU, and a head with a hidden layer; logits above zero; some maps zero, one constant."""
    torch.manual_seed(0)
    head = [nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(90, 12), nn.ReLU(), nn.Linear(12, 4)]
    net = nn.Sequential(nn.Conv2d(3, 10, 3, padding=1), nn.ReLU(inplace=True), *head)
    net[6].bias.data += 3
    for k, value in dead:
        nn.init.zeros_(net[0].weight[k])
        nn.init.constant_(net[0].bias[k : k + 1], value)
    return net.eval().requires_grad_(False)


@pytest.mark.parametrize("name", methods())
def test_dead_and_constant_maps_spoil_nothing(name):
    got = methods()[name](positive_net([(2, -1.0), (5, 0.0), (7, 0.5)]), pictures(3, 16), layer="1")
    assert got.isfinite().all() and got.abs().amax() > 0
    if name != "score_cam":  # whose softmax counts dead maps too
        slim = positive_net([(2, -1.0), (5, 0.0), (7, 0.5)])
        alive = [0, 1, 3, 4, 6, 7, 8, 9]
        conv = nn.Conv2d(3, 8, 3, padding=1)
        conv.weight.data, conv.bias.data = slim[0].weight[alive], slim[0].bias[alive]
        slim[4].weight.data = slim[4].weight.unflatten(1, (10, 9))[:, alive].flatten(1)
        slim[0] = conv
        torch.testing.assert_close(methods()[name](slim, pictures(3, 16), layer="1"), got)


def test_score_cam_by_its_formula_with_dead_and_constant_maps():
    net, x = positive_net([(2, -1.0), (7, 0.5)]), pictures(2, 16)
    maps, target = net[:2](x), torch.tensor([3, 1])
    scores = torch.empty(2, 10)
    for k in range(10):  # the maps are as large as the pictures here
        mask = maps[:, k : k + 1] - maps[:, k : k + 1].amin((2, 3), True)
        mask = torch.zeros_like(mask) if k in (2, 7) else mask / mask.amax((2, 3), True)
        scores[:, k] = net(x * mask)[range(2), target]
    expected = torch.einsum("nk,nkij->nij", scores.softmax(1), maps)
    torch.testing.assert_close(attribution.score_cam(net, x, target, layer="1"), expected)


@pytest.mark.parametrize("name", methods())
def test_batches_chunks_and_the_order_of_hidden_units_change_nothing(name):
    net, x, target = positive_net(), pictures(3, 16), torch.tensor([0, 3, 1])
    expected = methods()[name](net, x, target, layer="1")
    one_by_one = [methods(7)[name](net, x[i : i + 1], int(target[i]), layer="1") for i in range(3)]
    torch.testing.assert_close(torch.cat(one_by_one), expected)
    order = torch.randperm(12)
    net[4].weight.data, net[4].bias.data = net[4].weight[order], net[4].bias[order]
    net[6].weight.data = net[6].weight[:, order]
    torch.testing.assert_close(methods(1000)[name](net, x, target, layer="1"), expected)


def test_ablation_cam_refuses_scores_that_it_cannot_divide_by():
    net, x = Tiny().eval(), pictures()
    net.fc.weight.data.abs_()
    net.fc.bias.data = torch.tensor([1.0, -50.0, 1e-9, 1.0, 1.0])
    net.fc.weight.data[2] = 0
    for c in (1, 2):
        with pytest.raises(ValueError, match="divides by the score.*lambda logits: logits"):
            attribution.ablation_cam(net, x, c, layer="conv2")
    attribution.ablation_cam(net, x, lambda logits: logits[:, 2] - logits.mean(1), layer="conv2")


@pytest.mark.parametrize("name", ["score_cam", "ablation_cam"])
@pytest.mark.parametrize("chunk", [0, -1, 2.0, True])
def test_a_chunk_is_a_positive_number(name, chunk):
    with pytest.raises(ValueError, match="chunk is .*; give"):
        methods(chunk)[name](positive_net(), pictures(1, 16), 0, layer="1")


@pytest.mark.parametrize("name", methods())
def test_layers_without_maps(name):
    with pytest.raises(ValueError, match="not maps"):
        methods()[name](positive_net(), pictures(1, 16), 0, layer="4")
    with pytest.raises(ValueError, match="has no layer '12'"):
        methods()[name](positive_net(), pictures(1, 16), 0, layer="12")


# --- batch norms folded away ---


@pytest.mark.parametrize(("name", "left"), [("resnet18", 0), ("mobilenet_v2", 0), ("densenet121", 62)])
def test_folding_changes_the_net_but_not_its_logits(name, left):
    net, x = random_net(name), pictures(3, 64)
    before = copy.deepcopy(net.state_dict())
    with torch.no_grad():
        light = folded(net, x[:1], net(x[:1]))
        torch.testing.assert_close(light(x), net(x), rtol=1e-4, atol=1e-4)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in light.modules()) == left
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)
    ours, theirs = dict(light.named_parameters()), dict(net.named_parameters())
    linear = [key for key in theirs if key.startswith(("fc", "classifier"))]
    assert linear and all(ours[key] is theirs[key] for key in linear)


class BesideItsNorm(Tiny):
    """Its convolution's output goes into a batch norm, and past it."""

    def __init__(self, runs=1):
        super().__init__()
        self.norm, self.runs = nn.BatchNorm2d(8), runs
        nn.init.uniform_(self.norm.running_mean)

    def forward(self, x):
        z = self.conv1(x)
        z = self.norm(z) + z
        for _ in range(self.runs - 1):
            z = self.norm(self.conv2(z)) + self.norm(self.conv2(z * 2))
        return self.fc(z.relu().mean((2, 3)))


class Shy(Tiny):
    def __deepcopy__(self, memo):
        raise RuntimeError("no copies")


def test_what_cannot_be_folded_is_left_as_it_is():
    x = pictures()
    for net in (BesideItsNorm().eval(), Shy().eval()):
        with torch.no_grad():
            assert folded(net, x, net(x)) is net
    net = BesideItsNorm(runs=2).eval()  # layers that run several times are not folded
    with torch.no_grad():
        light = folded(net, x, net(x))
        assert light is not net and isinstance(light.norm, nn.BatchNorm2d)
        torch.testing.assert_close(light(x), net(x))
