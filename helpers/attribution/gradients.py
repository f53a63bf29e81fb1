"""Explanations by a gradient with respect to the picture: the true one, and two with another rule for ReLUs."""

import torch
from torch import Tensor, autograd, nn

from helpers.attribution._common import Target, backward_pass, check_pictures, explaining, kind, scores_of, which
from helpers.hooks import relu_rule


def gradient(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    r"""Return the gradient of one logit with respect to the picture (Simonyan et al., 2014).

    .. math:: M = \frac{\partial y_c}{\partial x}

    y_c is the logit of class c and x the picture. Each value tells by how much the logit would rise if this value of
    the picture rose by one, for small changes. Costs one forward and one backward pass for the whole batch; see
    :func:`pixel_map` for one value a pixel.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        target: which score to explain: ``None`` (each picture's top class), a class number, one for each picture, or
            a function of the logits that returns [N].

    Returns:
        Signed attribution [N, C, H, W], detached, in logits per unit of x.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or the target is of another kind.
        ValueError: pictures, target or output of the model that cannot be used; the message names the cure.
            Also a gradient that is zero everywhere.

    Source:
        Simonyan, Vedaldi and Zisserman, "Deep Inside Convolutional Networks", 2014.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from helpers import attribution
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> attribution.gradient(net, torch.rand(2, 3, 8, 8), target=1).shape
        torch.Size([2, 3, 8, 8])
    """
    with explaining(model):
        x = check_pictures(x, model)
        return check_alive(one_pass(model, x, target)).contiguous()


def gradient_x_input(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    r"""Return the gradient times the picture (Shrikumar et al., 2016).

    .. math:: M = x \odot \frac{\partial y_c}{\partial x}

    The first-order Taylor estimate of what each value adds to the logit, counted from a picture of zeros: exact for
    a linear network, and summing to the logit for every network of ReLUs without biases. Zero is black for pixels in
    [0, 1], and the mean colour for normalised ones: a value of zero gets nothing. Older texts call it simple Taylor,
    and some turn its sign.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        target: which score to explain: ``None`` (each picture's top class), a class number, one for each picture, or
            a function of the logits that returns [N].

    Returns:
        Signed attribution [N, C, H, W], detached, in logits.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or the target is of another kind.
        ValueError: pictures, target or output of the model that cannot be used; the message names the cure.
            Also a picture of zeros, of which no value can have a share, and a gradient that is zero everywhere.

    Source:
        Shrikumar, Greenside, Shcherbina and Kundaje, "Not Just a Black Box", 2016.

    Example:
        >>> import torch
        >>> from helpers import attribution
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 2, bias=False))
        >>> x = torch.rand(1, 3, 8, 8)
        >>> parts = attribution.gradient_x_input(net, x, target=1)
        >>> bool(torch.isclose(parts.sum(), net(x)[0, 1], atol=1e-5))
        True
    """
    with explaining(model):
        x = check_pictures(x, model)
        if (zero := ~x.flatten(1).any(1)).any():
            raise ValueError(
                f"{which(zero, x)} is zero everywhere, and so is gradient times input: use gradient(), or "
                "integrated_gradients() with another baseline."
            )
        slopes = check_alive(one_pass(model, x, target))
        return (x.detach() * slopes).contiguous()


def guided_backprop(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    r"""Return the gradient with guided ReLUs (Springenberg et al., 2015).

    At each ReLU with input z, the gradient g that arrives from above goes on as

    .. math:: g \cdot 1[g > 0] \cdot 1[z > 0]

    Sharper than the gradient, but no longer the gradient of anything: it shows which edges the network reacts to, and
    hardly depends on the class. One forward and one backward pass.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        target: which score to explain: ``None`` (each picture's top class), a class number, one for each picture, or
            a function of the logits that returns [N].

    Returns:
        Signed attribution [N, C, H, W], detached.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or the target is of another kind.
        ValueError: pictures, target or output of the model that cannot be used; the message names the cure.
            Also a network in which no ReLU was met, so that nothing was guided, and a result that is zero everywhere.

    Source:
        Springenberg, Dosovitskiy, Brox and Riedmiller, "Striving for Simplicity: The All Convolutional Net", 2015.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from helpers import attribution
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> attribution.guided_backprop(net, torch.rand(2, 3, 8, 8), target=1).shape
        torch.Size([2, 3, 8, 8])
    """
    with relu_rule("guided") as relus:
        result = gradient(model, x, target)
    relus.check(model)
    return result


def deconvnet(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    r"""Return the gradient with deconvnet ReLUs (Zeiler and Fergus, 2014).

    At each ReLU the gradient g that arrives from above goes on as

    .. math:: g \cdot 1[g > 0]

    whether the ReLU was on or not. Max-pooling sends the gradient back to where the maximum was, which is what the
    paper's switches do. One forward and one backward pass.

    Args:
        model: classifier, [N, C, H, W] -> logits [N, classes]; any mode, frozen or not, left as it was.
        x: pictures [N, C, H, W], in the units that the network takes; or texts [N, C, L].
        target: which score to explain: ``None`` (each picture's top class), a class number, one for each picture, or
            a function of the logits that returns [N].

    Returns:
        Signed attribution [N, C, H, W], detached.

    Raises:
        TypeError: the model is not a module, the pictures are not floats, or the target is of another kind.
        ValueError: pictures, target or output of the model that cannot be used; the message names the cure.
            Also a network in which no ReLU was met, and a result that is zero everywhere.

    Source:
        Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from helpers import attribution
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> attribution.deconvnet(net, torch.rand(2, 3, 8, 8), target=1).shape
        torch.Size([2, 3, 8, 8])
    """
    with relu_rule("deconv") as relus:
        result = gradient(model, x, target)
    relus.check(model)
    return result


def one_pass(model: nn.Module, x: Tensor, target: Target) -> Tensor:
    """Return dy_c/dx [N, C, H, W] by one forward and one backward pass, inside an `explaining` block.

    Raises:
        ValueError: the score does not depend on the picture.
    """
    x = x.requires_grad_()
    return slopes(model, scores_of(model, x, target).sum(), x)


def slopes(model: nn.Module, total: Tensor, x: Tensor) -> Tensor:
    """Return the gradient of ``total``, one number, with respect to ``x``; errors as in `one_pass`."""
    with backward_pass(model):
        found = autograd.grad(total, x, allow_unused=True)[0] if total.requires_grad else None
    if found is None:
        raise ValueError(
            f"The score does not depend on the {kind(x).one}: is there a detach() or a no_grad in the model?"
        )
    return found


def check_alive(gradients: Tensor) -> Tensor:
    """Return ``gradients`` [N, C, H, W] if each of the N is finite and not zero everywhere, else raise ValueError."""
    if (dead := ~gradients.flatten(1).any(1)).any():
        raise ValueError(
            f"{which(dead, gradients)}: the gradient is zero everywhere, as the score does not react to "
            f"small changes of the {kind(gradients).one}. Explain a logit (not a saturated softmax), and look "
            "whether every ReLU before it is off."
        )
    if not torch.isfinite(gradients.sum()) and (bad := ~torch.isfinite(gradients).flatten(1).all(1)).any():
        raise ValueError(
            f"{which(bad, gradients)}: the gradient holds NaN or infinite values; look for a division by zero or a "
            "root of zero in the model, or for half precision that overflows (use model.float())."
        )
    return gradients
