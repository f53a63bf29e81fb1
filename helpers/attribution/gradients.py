"""Explanations by a gradient with respect to the picture: the true one, and two with another rule for ReLUs."""

import torch
from torch import Tensor, autograd, nn

from helpers.attribution._common import Target, check_pictures, explaining, kind, run, score
from helpers.hooks import relu_rule


def gradient(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """Return the gradient of one logit with respect to the picture, dy_c/dx (Simonyan et al., 2014).

    Costs one forward and one backward pass for the whole batch; see :func:`pixel_map` for one value a pixel.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes.
        target: which score to explain: ``None`` (each picture's top class), an int, ints [N], or a function
            of the logits that returns [N].

    Returns:
        Signed attribution [N, C, H, W], detached, in logits per unit of x.

    Raises:
        TypeError, ValueError: pictures or target that cannot be explained; the message names the cure.
    """
    with explaining(model):
        return check_alive(one_pass(model, check_pictures(x, model), target)).contiguous()


def gradient_x_input(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """Return gradient times picture, x * dy_c/dx (Shrikumar et al., 2016).

    The first-order Taylor estimate of what each value adds to the logit, counted from a picture of zeros: exact for
    a linear network, and summing to the logit for every network of ReLUs without biases. Zero is black for pixels in
    [0, 1], and the mean colour for normalised ones: a value of zero gets nothing. Older texts call it simple Taylor,
    and some turn its sign. Arguments and errors as for :func:`gradient`.

    Returns:
        Signed attribution [N, C, H, W], detached, in logits.

    Raises:
        ValueError: also for a picture of zeros, of which no value can have a share.
    """
    slopes = gradient(model, x, target)
    if (x.flatten(1) == 0).all(1).any():
        raise ValueError(f"A {kind(x).one} is zero everywhere, and so is gradient times input: use gradient().")
    with torch.inference_mode(False), torch.no_grad():
        return x * slopes


def guided_backprop(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """Return the gradient with guided ReLUs (Springenberg et al., 2015): ``g * 1[g > 0] * 1[z > 0]`` at each ReLU.

    Sharper than the gradient, but no longer the gradient of anything: it answers "which edges does this network see",
    and hardly depends on the class. Arguments, shapes and errors as for :func:`gradient`.

    Raises:
        ValueError: also when no ReLU was met, so that nothing was guided.
    """
    return _with_rule("guided", model, x, target)


def deconvnet(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """Return the gradient with deconvnet ReLUs (Zeiler and Fergus, 2014): ``g * 1[g > 0]`` at each ReLU.

    Max-pooling sends the gradient back to where the maximum was, which is what the paper's switches do.
    Arguments, shapes and errors as for :func:`guided_backprop`.
    """
    return _with_rule("deconv", model, x, target)


def one_pass(model: nn.Module, x: Tensor, target: Target) -> Tensor:
    """Return dy_c/dx [N, C, H, W] by one forward and one backward pass, inside an `explaining` block.

    ``x`` keeps its memory layout: with another one convolutions round otherwise, and now and then a ReLU flips.

    Raises:
        ValueError: the score does not depend on the picture.
    """
    x = x.requires_grad_()
    scores = score(run(model, x), target)
    if not scores.requires_grad:
        raise ValueError(
            f"The score does not depend on the {kind(x).one}: is there a detach() or a no_grad in the model?"
        )
    return autograd.grad(scores.sum(), x)[0]


def check_alive(gradients: Tensor) -> Tensor:
    """Return ``gradients`` [N, C, H, W] if none of the N is zero everywhere, else raise ValueError."""
    if not gradients.flatten(1).any(1).all():
        raise ValueError(
            f"The gradient is zero everywhere: the score does not react to small changes of the {kind(gradients).one}. "
            "Explain a logit (not a saturated softmax), and look whether every ReLU before it is off."
        )
    return gradients


def _with_rule(rule: str, model: nn.Module, x: Tensor, target: Target) -> Tensor:
    with relu_rule(rule) as mode:
        result = gradient(model, x, target)
    mode.check(model)
    return result
