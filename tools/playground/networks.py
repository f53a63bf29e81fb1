"""The course's networks as modules whose forward pass gives the explanation too, so that they can be exported.

ONNX knows no automatic differentiation. The gradient is therefore written out, layer by layer, as one more piece of
forward pass; for a class activation map nothing needs to be differentiated.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.models import EfficientNetLite0, MnistCNN, ShapesResNet


class DigitExplained(nn.Module):
    """The CNN of digits with gradient, guided backprop and what the biases add, for K classes at once.

    Takes one picture ``x`` [1, 1, 28, 28] and, for each class asked for, a row ``classes`` [K, 10] that is one there
    and zero elsewhere. Gives the logits [1, 10], the gradient and guided backprop [K, 28, 28] each, and ``biases`` [K]:
    gradient x picture, summed, and ``biases`` are the logit.

    Args:
        net: a trained :class:`helpers.models.MnistCNN`.

    >>> import torch
    >>> from helpers.models import MnistCNN
    >>> outputs = DigitExplained(MnistCNN())(torch.rand(1, 1, 28, 28), torch.eye(10)[:2])
    >>> [list(output.shape) for output in outputs]
    [[1, 10], [2, 28, 28], [2, 28, 28], [2]]
    """

    def __init__(self, net: MnistCNN) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(stage[0] for stage in (net.layer1, net.layer2, net.layer3))
        self.hidden, self.last = net.layer4[0], net.layer5

    def forward(self, x: Tensor, classes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return logits, gradient, guided backprop and what the biases add."""
        passed = []  # of each stage: its maps behind the ReLU, and where the pooling found each maximum
        maps = x
        for convolution in self.convolutions:
            active = convolution(maps).relu()
            maps, places = F.max_pool2d(active, 2, 2, padding=1, return_indices=True)
            passed.append((active, places))
        units = self.hidden(maps.flatten(1)).relu()
        logits = self.last(units)

        # backward: K rows of the gradient, then K rows of guided backprop
        g = through_relu((classes @ self.last.weight).repeat(2, 1), units)
        count = len(classes)
        biases = classes @ self.last.bias + g[:count] @ self.hidden.bias
        g = (g @ self.hidden.weight).unflatten(1, maps.shape[1:])
        for convolution, (active, places) in zip(reversed(self.convolutions), reversed(passed), strict=True):
            g = through_relu(through_pooling(g, places, active), active)
            biases = biases + g[:count].sum((2, 3)) @ convolution.bias
            # the gradient of a convolution is the convolution with the kernels turned by 180 degrees
            g = F.conv2d(g, convolution.weight.flip(2, 3).transpose(0, 1), padding=1)
        return logits, g[:count, 0], g[count:, 0], biases


def through_relu(g: Tensor, active: Tensor) -> Tensor:
    """Return the gradient before a ReLU; the second half of the rows follows the rule of guided backprop.

    Args:
        g: what arrives from above, [2K, ...].
        active: what the ReLU gave, [1, ...].
    """
    plain, guided = (g * (active > 0).float()).chunk(2)
    return torch.cat([plain, guided.relu()])


def through_pooling(g: Tensor, places: Tensor, active: Tensor) -> Tensor:
    """Return the gradient before a max-pooling: each value goes to the place of its maximum.

    Args:
        g: what arrives from above, [2K, C, h, w].
        places: of each maximum in its map, counted along the rows, [1, C, h, w].
        active: what was pooled, [1, C, H, W].
    """
    spread = torch.zeros(len(g), active.shape[1], active.shape[2] * active.shape[3])
    spread = spread.scatter(2, places.flatten(2).expand(len(g), -1, -1), g.flatten(2))
    return spread.unflatten(2, active.shape[2:])


class WithMaps(nn.Module):
    """A network that ends in a global average and one linear layer, with the class activation map of every class.

    Takes pictures ``x`` [N, 3, H, W]. Gives the logits [N, classes], computed as the network itself does, and the maps
    [N, classes, h, w]: the mean of a map and the bias of its class are the logit.

    Args:
        net: a trained :class:`helpers.models.ShapesResNet` or :class:`helpers.models.EfficientNetLite0`.

    >>> import torch
    >>> from helpers.models import ShapesResNet
    >>> [list(output.shape) for output in WithMaps(ShapesResNet().eval())(torch.rand(1, 3, 128, 128))]
    [[1, 10], [1, 10, 8, 8]]
    """

    def __init__(self, net: ShapesResNet | EfficientNetLite0) -> None:
        super().__init__()
        names = [name for name, _ in net.named_children()]
        self.trunk = nn.Sequential(*[getattr(net, name) for name in names[: names.index("avgpool")]])
        self.avgpool, self.fc = net.avgpool, net.fc

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and maps."""
        last = self.trunk(x)
        return self.fc(self.avgpool(last).flatten(1)), F.conv2d(last, self.fc.weight[:, :, None, None])
