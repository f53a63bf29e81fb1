"""Checkers of lesson *class_prototypes*: the spread of each class, and the one linear layer that a linear net is."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from helpers.checks.core import Wrong, ask, checker, name_the_mistake
from helpers.models import MnistDNN


@checker
def check_class_spread(function: Callable[[Tensor, Tensor], Tensor]) -> str:
    """Check ``function(images [N, C, H, W], labels [N]) -> [10, C, H, W]`` on random pictures of ten classes."""
    random = torch.Generator().manual_seed(2)
    labels = torch.arange(90) % 10
    labels[60:] = labels[60:] // 2  # some classes have more pictures than others
    labels = labels[torch.randperm(90, generator=random)]
    images = torch.rand(90, 1, 6, 5, generator=random)
    images[:, :, :2] = images[0, :, :2]  # pixels that never change, as at the edge of every digit

    groups = [images[labels == c] for c in range(10)]
    counts = labels.bincount(minlength=10).view(10, 1, 1, 1)
    around = images.mean(0)
    right = torch.stack([group.std(0, correction=0) for group in groups])

    def by_classes(images: Tensor, labels: Tensor) -> Tensor:
        return torch.stack([images[labels == c].std(0, correction=0) for c in range(10)])

    mistakes = {
        "this is the variance; the standard deviation is its root.": right**2,
        "you divide by one picture less than there are; divide by their number.": torch.stack(
            [group.std(0) for group in groups]
        ),
        "you measure from the mean of all pictures; take each picture's own class mean.": torch.stack(
            [((group - around) ** 2).mean(0).sqrt() for group in groups]
        ),
        "the squares are summed but not divided by the number of pictures.": right * counts.sqrt(),
        "you divide by the number of all pictures; divide by that of the class.": right * (counts / 90).sqrt(),
        "this is the mean distance; square the distances, take the mean, then the root.": torch.stack(
            [(group - group.mean(0)).abs().mean(0) for group in groups]
        ),
        "you measure from each picture's own mean; take the class mean of each pixel.": torch.stack(
            [(group - group.mean((2, 3), keepdim=True)).square().mean(0).sqrt() for group in groups]
        ),
        "no mean is subtracted: this is the root of the mean square.": torch.stack(
            [group.square().mean(0).sqrt() for group in groups]
        ),
        "you measure from the mean of all pixels of the class; each pixel has a mean of its own.": torch.stack(
            [(group - group.mean()).square().mean(0).sqrt() for group in groups]
        ),
        "you measure from the median; the standard deviation is taken around the mean.": torch.stack(
            [(group - group.median(0).values).square().mean(0).sqrt() for group in groups]
        ),
        "this is the standard error, divided by the root of the number once more; leave that out.": right
        / counts.sqrt(),
        "this is the range, largest minus smallest; take the standard deviation.": torch.stack(
            [group.amax(0) - group.amin(0) for group in groups]
        ),
        "this is the mean of each class; its spread is asked for.": torch.stack([group.mean(0) for group in groups]),
        "all classes have the same spread in your answer; take each class's own pictures.": images.std(
            0, correction=0
        ).expand(10, 1, 6, 5),
        "there is one number for each class; keep the pixels apart.": torch.stack(
            [group.std(correction=0) for group in groups]
        ),
    }
    got = ask(function, images.clone(), labels.clone())
    if isinstance(got, Tensor) and got.shape == right.shape and got.isnan().any():
        where = "in pixels that never change" if not got[right > 0].isnan().any() else "in your answer"
        raise Wrong(f"there is NaN {where}: rounding put a number below zero under the root. Subtract the mean first.")
    # wide enough for the mean of squares minus the squared mean, clamped at zero
    got = name_the_mistake(got, mistakes, right, 3e-3, what="the spread", by=by_classes)
    return f"ten classes, off by at most {(got - right).abs().max().item():.0e}."


@checker
def check_collapse(function: Callable[[MnistDNN], tuple[Tensor, Tensor]]) -> str:
    """Check ``function(net) -> (W [10, 784], b [10])`` on a net of random weights and large biases."""
    random = torch.Generator().manual_seed(2)
    with torch.random.fork_rng():
        net = MnistDNN().requires_grad_(False)
    layers = net.dense1, net.dense2, net.dense3
    for layer in layers:
        nn.init.normal_(layer.weight, std=layer.in_features**-0.5, generator=random)
        nn.init.normal_(layer.bias, generator=random)
    (w1, w2, w3), (b1, b2, b3) = zip(*((layer.weight, layer.bias) for layer in layers), strict=True)

    try:
        answer = ask(function, net)
    except Wrong as stop:
        if "shapes cannot be multiplied" in str(stop) or "size mismatch" in str(stop):
            order = "The layer that runs last stands on the left: dense3 @ dense2 @ dense1."
            raise Wrong(f"{stop} {order}") from stop
        raise
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise Wrong("return two things, the matrix and the bias: return W, b.")
    weight, bias = answer
    mistakes = {
        "W is the other way round; a row for each class, [10, 784].": (w3 @ w2 @ w1).T,
        "W is the last layer's alone; the other two layers are missing.": w3,
        "there is no ReLU between these layers; multiply the matrices as they are.": w3 @ (w2 @ w1).relu(),
        "dense3 is missing in W.": w2 @ w1,
        "dense1 is missing in W.": w3 @ w2,
    }
    weight = name_the_mistake(weight, mistakes, w3 @ w2 @ w1, what="W")
    mistakes = {
        "b is zero; a picture of zeros does not get zero logits from this net.": torch.zeros(10),
        "this is what a picture of ones gets; b is what a picture of zeros gets.": net(torch.ones(1, 784))[0],
        "the biases are summed up before they are added; each has to go through the layers behind it.": (
            b1.sum() + b2.sum() + b3
        ),
        "b is dense3's bias alone; the biases before it come through the later layers.": b3,
        "b is dense1's bias alone, carried through; those of dense2 and dense3 are missing.": w3 @ w2 @ b1,
        "b is dense2's bias alone, carried through; those of dense1 and dense3 are missing.": w3 @ b2,
        "dense1's bias is missing in b.": w3 @ b2 + b3,
        "dense2's bias is missing in b.": w3 @ w2 @ b1 + b3,
        "dense3's bias is missing in b.": w3 @ (w2 @ b1 + b2),
    }
    right = w3 @ (w2 @ b1 + b2) + b3
    if torch.as_tensor(bias).numel() == 10:  # [1, 10] and [10, 1] say the same
        bias = torch.as_tensor(bias).reshape(10)
    bias = name_the_mistake(bias, mistakes, right, what="b")
    x = torch.rand(50, 784, generator=random)
    gap = (x.double() @ weight.T + bias - net(x)).abs().max()
    return f"W x + b misses the net's logits by {gap:.0e} at most, on 50 random pictures."
