"""The cascading randomisation test: layers get random weights, one after the other, from the last to the first."""

import copy
from collections.abc import Iterator

import torch
from torch import nn

from helpers.attribution._common import check_module, source_of_noise


def randomised(model: nn.Module, generator: torch.Generator | None = None) -> Iterator[tuple[str, nn.Module]]:
    """Yield copies of the model whose layers are drawn anew, from the last down to the first (Adebayo et al., 2018).

    The first copy has a new last layer, each further one also the layer before, and in the last all layers are new. A
    layer is a module with ``reset_parameters()``, which gives it the weights of a network before training; BatchNorm is
    a layer of its own and loses its statistics, too. Their order is that in which the model holds them.

    A map that hardly changes does not depend on what was lost. That is all the test says: it does not rank methods
    (Binder et al., 2023).

    Args:
        model: any module, left as it was. The copies have its modes and ``requires_grad``.
        generator: source of the seeds, on the CPU; a fresh one with seed 0 unless given. Torch's own generator is
            left as it was.

    Yields:
        The layer's name and a copy, independent of all others.

    Raises:
        TypeError: not a module.
        ValueError: nothing in the model can be drawn anew, or a module has parameters and no ``reset_parameters()``.

    >>> import torch
    >>> from helpers import evaluation
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(36, 5))
    >>> [name for name, copy in evaluation.randomised(net)]
    ['3', '0']
    """
    check_module(model)
    generator = source_of_noise(generator)
    layers = []
    for name, module in model.named_modules():
        own = next(module.parameters(recurse=False), None) is not None
        if hasattr(module, "reset_parameters") and (own or next(module.buffers(recurse=False), None) is not None):
            layers.append(name)
        elif own:
            raise ValueError(
                f"{name or 'The model'} ({type(module).__name__}) has parameters, but no reset_parameters() that draws "
                "them anew: give it one."
            )
    if not layers:
        raise ValueError(f"{type(model).__name__} has no layer with weights that could be drawn anew.")
    return _cascade(model, layers[::-1], generator)


def _cascade(model: nn.Module, names: list[str], generator: torch.Generator) -> Iterator[tuple[str, nn.Module]]:
    current = model
    for name in names:
        with torch.inference_mode(False):
            current = copy.deepcopy(current)
            layer = current.get_submodule(name)
            seed = int(torch.randint(2**62, (), generator=generator))
            fresh = copy.deepcopy(layer).cpu()  # the same numbers on any device
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(seed)
                fresh.reset_parameters()
            layer.load_state_dict(fresh.state_dict())
            # What is handed out may be changed by its receiver; the next copy must not see it.
            handed = copy.deepcopy(current)
        yield name, handed
