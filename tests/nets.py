"""Networks for the tests that are not the course's: torchvision's, with random weights, and two tiny ones."""

from functools import cache

import torch
import torch.nn.functional as F
import torchvision
from torch import nn

# name -> the layer whose maps are explained
LAYERS = {
    "resnet18": "layer4",
    "vgg11_bn": "features",
    "densenet121": "features",
    "squeezenet1_1": "features",
    "mobilenet_v2": "features",
}
MORE = {  # for the methods that are tried on every family
    "resnet50": "layer4",
    "vgg11": "features",
    "vgg16_bn": "features",
    "convnext_tiny": "features",
    "efficientnet_b0": "features",
}
AVERAGED = {name: layer for name, layer in LAYERS.items() if name != "vgg11_bn"}  # nets that have a CAM


@cache
def random_net(name: str) -> nn.Module:
    """Return a torchvision net with random weights and uneven BatchNorm statistics, in eval() mode: copy to change."""
    torch.manual_seed(0)
    net = slim(name) if name.startswith("vgg") else torchvision.models.get_model(name, weights=None)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    if name == "squeezenet1_1":  # its last ReLU must not switch the classes of the tests off
        nn.init.normal_(net.classifier[1].weight, mean=0.005, std=0.01)
        nn.init.constant_(net.classifier[1].bias, 0.5)
    return net.eval()


def slim(name: str) -> nn.Module:
    """Return torchvision's VGG with 192 hidden units in its head, not 4096: a tenth of its 133 million weights."""
    with torch.device("meta"):
        net = torchvision.models.get_model(name, weights=None)
    for number, sizes in {0: (25088, 192), 3: (192, 192), 6: (192, 1000)}.items():
        net.classifier[number] = nn.Linear(*sizes)
        nn.init.normal_(net.classifier[number].weight, std=(2 / sizes[0]) ** 0.5)
    for module in net.features.to_empty(device="cpu"):
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return net


def pictures(count: int = 2, size: int = 64, seed: int = 1) -> torch.Tensor:
    """Return float pictures [count, 3, size, size]."""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


class Tiny(nn.Module):
    """Convolution, ReLU, dropout, average, linear; its ReLU is written in the way that ``style`` names."""

    def __init__(self, style: str = "module", seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.style = style
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.act = nn.ReLU(inplace=style == "in-place")
        self.act2 = nn.ReLU()
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(8, 5)
        nn.init.uniform_(self.fc.bias, 0.5, 1.0)  # positive scores, which Ablation-CAM asks for

    def relu(self, z: torch.Tensor, second: bool = False) -> torch.Tensor:
        if self.style == "functional":
            return F.relu(z)
        if self.style == "method":
            return z.relu_()
        if self.style == "torch":
            return torch.relu(z)
        return self.act2(z) if second and self.style == "module" else self.act(z)  # otherwise one module used twice

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.relu(self.conv2(self.relu(self.conv1(x))), second=True)
        return self.fc(self.drop(maps.mean((2, 3))))


RELU_STYLES = ("module", "reused", "in-place", "functional", "method", "torch")
