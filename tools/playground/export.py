"""Write the playground's networks as ONNX files, their weights in 16 bits.

The package onnx is imported where it is used: the course works without it, only `make play` and `make site` need it.
"""

import hashlib
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from helpers.course import weights
from helpers.models import load_classifier
from tools.playground.networks import DigitExplained, WithMaps

if TYPE_CHECKING:
    import onnx

LARGE = 1000  # values: what holds fewer stays in 32 bits


def export(module: nn.Module, inputs: dict[str, Tensor], outputs: Sequence[str], file: Path) -> None:
    """Write a module as an ONNX file.

    Args:
        module: its forward pass takes ``inputs`` in their order and gives ``outputs`` in theirs.
        inputs: examples by name; the file takes these shapes and no others.
        outputs: their names.
        file: where to write it.
    """
    import onnx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamo=True,
            verbose=False,
        )
    onnx.save(in_16_bits(program.model_proto), file)


def in_16_bits(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Store each large tensor of weights in 16 bits a number; the arithmetic stays in 32 bits.

    Weights that half precision holds exactly, as it does those in the course's files, are stored in it. The others, of
    the real network and of convolutions with a BatchNorm folded in, are stored as whole numbers and one scale for each
    row, which is what belongs to one output of a layer: with half precision the maps of the real network would be ten
    times less exact. onnxruntime turns both into floats once, when it loads the file.

    Args:
        model: is changed, and returned.
    """
    import onnx

    graph, nodes = model.graph, []
    for tensor in list(graph.initializer):
        values, name = onnx.numpy_helper.to_array(tensor), tensor.name
        if values.dtype != np.float32 or values.size < LARGE:
            continue
        graph.initializer.remove(tensor)
        if np.array_equal(values, values.astype(np.float16)):
            graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
            nodes.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
            continue
        scale = np.abs(values).max(axis=tuple(range(1, values.ndim)), keepdims=True) / 32767
        scale[scale == 0] = 1
        whole = np.round(values / scale).astype(np.int16)
        graph.initializer.append(onnx.numpy_helper.from_array(whole, f"{name}.whole"))
        graph.initializer.append(onnx.numpy_helper.from_array(scale, f"{name}.scale"))
        nodes.append(onnx.helper.make_node("Cast", [f"{name}.whole"], [f"{name}.float"], to=onnx.TensorProto.FLOAT))
        nodes.append(onnx.helper.make_node("Mul", [f"{name}.float", f"{name}.scale"], [name]))
    for node in reversed(nodes):
        graph.node.insert(0, node)
    onnx.checker.check_model(model)
    return model


def write_digits_network(file: Path) -> None:
    """Write the CNN of digits, with gradient and guided backprop for two classes."""
    net = DigitExplained(load_classifier("digits_cnn_mnist").model)
    outputs = ("logits", "gradient", "guided", "biases")
    export(net, {"x": torch.rand(1, 1, 28, 28), "classes": torch.eye(10)[:2]}, outputs, file)


def write_network_with_maps(name: str, side: int, file: Path) -> None:
    """Write a network that takes pictures [1, 3, side, side], with the class activation map of each class."""
    export(WithMaps(load_classifier(name).model), {"x": torch.zeros(1, 3, side, side)}, ("logits", "maps"), file)


NETWORKS: dict[str, tuple[str, Callable[[Path], None]]] = {  # file: the course's name of the network, who writes it
    "digits": ("digits_cnn_mnist", write_digits_network),
    "shapes": ("shapes_resnet", lambda file: write_network_with_maps("shapes_resnet", 128, file)),
    "photograph": ("efficientnet_lite0", lambda file: write_network_with_maps("efficientnet_lite0", 224, file)),
}


def state_of(network: str) -> str:
    """Return a checksum of all that an ONNX file is made from."""
    parts = [torch.__version__, version("onnx"), network]
    parts += [(Path(__file__).parent / name).read_text(encoding="utf-8") for name in ("export.py", "networks.py")]
    found = hashlib.sha256("\n".join(parts).encode())
    if weights(network).exists():  # those of the real network lie in a package, which does not change
        found.update(weights(network).read_bytes())
    return found.hexdigest()[:16]
