"""The course's own networks, each written out in full, and untrained: weights come with ``load_classifier``."""

import torch.nn.functional as F
from torch import Tensor, nn


class MnistDNN(nn.Module):
    """Three linear layers, 784-512-100-10, with nothing in between: as a function, one linear map.

    Takes [N, 1, 28, 28] or [N, 784], returns logits [N, 10].

    >>> import torch
    >>> from helpers.models import MnistDNN
    >>> MnistDNN()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(self) -> None:
        super().__init__()
        self.dense1 = nn.Linear(784, 512)
        self.dense2 = nn.Linear(512, 100)
        self.dense3 = nn.Linear(100, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits [N, 10]."""
        return self.dense3(self.dense2(self.dense1(x.flatten(1))))


class MnistCNN(nn.Module):
    """Three stages of convolution, ReLU, pooling and dropout (32, 64, 128 maps), then 3200-625-10.

    Takes [N, 1, 28, 28], returns logits [N, 10]. Pooling pads by one pixel, so the maps shrink 28, 15, 8, 5.

    Args:
        keep_maps: the share of values that dropout *keeps* in the convolutional stages while training.
        keep_units: the share of units that dropout *keeps* in the layer of 625 units while training.

    >>> import torch
    >>> from helpers.models import MnistCNN
    >>> net = MnistCNN()
    >>> net(torch.zeros(2, 1, 28, 28)).shape, net.layer1(torch.zeros(2, 1, 28, 28)).shape
    (torch.Size([2, 10]), torch.Size([2, 32, 15, 15]))
    """

    def __init__(self, keep_maps: float = 0.7, keep_units: float = 0.5) -> None:
        super().__init__()

        def stage(channels_in: int, channels_out: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2, stride=2, padding=1),
                nn.Dropout(1 - keep_maps),
            )

        self.layer1 = stage(1, 32)
        self.layer2 = stage(32, 64)
        self.layer3 = stage(64, 128)
        self.layer4 = nn.Sequential(nn.Linear(128 * 5 * 5, 625), nn.ReLU(), nn.Dropout(1 - keep_units))
        self.layer5 = nn.Linear(625, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits [N, 10]."""
        maps = self.layer3(self.layer2(self.layer1(x)))
        return self.layer5(self.layer4(maps.flatten(1)))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with BatchNorm and a shortcut around them: relu(shortcut(x) + convolutions(x)).

    Where the number of maps or their size changes, the shortcut is a 1x1 convolution (He et al., 2016).

    Args:
        channels_in: how many maps come in, [N, channels_in, H, W].
        channels_out: how many maps come out, [N, channels_out, H / stride, W / stride].
        stride: the step of the first convolution and of the shortcut, in pixels.

    >>> import torch
    >>> from helpers.models.networks import ResidualBlock
    >>> ResidualBlock(8, 16, stride=2)(torch.zeros(2, 8, 10, 10)).shape
    torch.Size([2, 16, 5, 5])
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.downsample = None
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(shortcut(x) + two convolutions of x)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(shortcut + self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))


class ShapesResNet(nn.Module):
    """A small residual net with torchvision's attribute names: four stages, average pooling, one linear map.

    A residual network (He et al., 2016). Takes [N, 3, 128, 128], returns logits [N, classes]; the maps of ``layer4``
    are [N, 128, 8, 8].

    Args:
        channels: how many maps the first convolution and each of the four stages give.
        classes: how many classes there are.

    >>> import torch
    >>> from helpers.models import ShapesResNet
    >>> net = ShapesResNet().eval()
    >>> net(torch.zeros(2, 3, 128, 128)).shape, net.fc
    (torch.Size([2, 10]), Linear(in_features=128, out_features=10, bias=True))
    """

    def __init__(self, channels: tuple[int, ...] = (16, 24, 48, 96, 128), classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels[0], 5, 2, 2, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(ResidualBlock(channels[0], channels[1]))
        self.layer2 = nn.Sequential(ResidualBlock(channels[1], channels[2], 2))
        self.layer3 = nn.Sequential(ResidualBlock(channels[2], channels[3], 2))
        self.layer4 = nn.Sequential(ResidualBlock(channels[3], channels[4]))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels[4], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits [N, classes]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


class ShapesVGG(nn.Module):
    """A small net in VGG's form: ``features`` (convolutions, ReLU, pooling), ``avgpool``, ``classifier``.

    After Simonyan and Zisserman (2015). Takes [N, 3, 128, 128], returns logits [N, classes]; the maps of ``features``
    are [N, 128, 8, 8]. It is trained with BatchNorm and shipped with BatchNorm folded into the convolutions.

    Args:
        batch_norm: put BatchNorm behind each convolution, which then has no bias.
        classes: how many classes there are.
        dropout: the share of units that dropout sets to zero in ``classifier`` while training.

    >>> import torch
    >>> from helpers.models import ShapesVGG
    >>> net = ShapesVGG().eval()
    >>> net(torch.zeros(2, 3, 128, 128)).shape, net.features(torch.zeros(2, 3, 128, 128)).shape
    (torch.Size([2, 10]), torch.Size([2, 128, 8, 8]))
    """

    def __init__(self, batch_norm: bool = False, classes: int = 10, dropout: float = 0.2) -> None:
        super().__init__()

        def convolution(channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
            layer = nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=not batch_norm)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            return [layer, *([nn.BatchNorm2d(channels_out)] if batch_norm else []), nn.ReLU()]

        modules = convolution(3, 16, 5, 2)
        for channels_in, channels_out in ((16, 32), (32, 64), (64, 128)):
            modules += [nn.MaxPool2d(2), *convolution(channels_in, channels_out)]
            modules += convolution(channels_out, channels_out)
        self.features = nn.Sequential(*modules)
        self.avgpool = nn.AdaptiveAvgPool2d(2)
        self.classifier = nn.Sequential(nn.Linear(512, 128), nn.ReLU(), nn.Dropout(dropout), nn.Linear(128, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits [N, classes]."""
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


class ShapesScenes(nn.Module):
    """A tiny net that segments a picture and puts boxes around objects: two heads of 1 x 1 convolutions on one trunk.

    Takes [N, 3, 128, 128] and gives a dict, as torchvision's segmentation networks do. ``"out"`` holds a logit for each
    category at each pixel, [N, 5, 128, 128]: category 0 is the ground, the others are the four of the ten shapes that
    ``SHAPES`` numbers, in its order. ``"boxes"`` is [N, 5, 16, 16], a
    one-stage detector after Tian et al. (FCOS, 2019), without categories: for each cell of 8 x 8 pixels the logit that
    an object has its middle there, then how far left, up, right and down of the cell's middle the box reaches, in
    cells. The trunk's maps ``features`` are [N, 64, 16, 16]; its last two convolutions are dilated, so that a place
    sees a whole object (Yu and Koltun, 2016). Trained with BatchNorm, shipped with it folded into the convolutions.

    Args:
        batch_norm: put BatchNorm behind each convolution of the trunk, which then has no bias.

    >>> import torch
    >>> from helpers.models import ShapesScenes
    >>> output = ShapesScenes().eval()(torch.zeros(2, 3, 128, 128))
    >>> output["out"].shape, output["boxes"].shape
    (torch.Size([2, 5, 128, 128]), torch.Size([2, 5, 16, 16]))
    """

    SHAPES = (0, 2, 4, 5)  # disc, triangle, cross and ring, of helpers.data.shapes.CATEGORIES

    def __init__(self, batch_norm: bool = False) -> None:
        super().__init__()
        widths, steps, dilations = (3, 16, 32, 48, 48, 64), (2, 2, 2, 1, 1), (1, 1, 1, 2, 3)
        modules: list[nn.Module] = []
        for i, (step, dilation) in enumerate(zip(steps, dilations, strict=True)):
            kernel = 5 if i == 0 else 3
            padding = dilation * (kernel // 2)
            layer = nn.Conv2d(widths[i], widths[i + 1], kernel, step, padding, dilation, bias=not batch_norm)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            modules += [layer, *([nn.BatchNorm2d(widths[i + 1])] if batch_norm else []), nn.ReLU()]
        self.features = nn.Sequential(*modules)
        self.segmentation = nn.Conv2d(widths[-1], 1 + len(self.SHAPES), 1)
        self.detection = nn.Conv2d(widths[-1], 5, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the logits of pixels, [N, 5, H, W], and scores and boxes of cells, [N, 5, h, w]."""
        maps = self.features(x)
        pixels = F.interpolate(self.segmentation(maps), x.shape[2:], mode="bilinear", align_corners=False)
        return {"out": pixels, "boxes": self.detection(maps)}
