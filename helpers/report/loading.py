"""What a user has, a network and pictures, as a classifier and files; what cannot be taken is refused with its cure."""

import importlib.util
import inspect
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.attribution._common import first_convolution, read
from helpers.data import read_picture
from helpers.models import Classifier, load_classifier

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
WEIGHTS = (
    "holds weights without a network: write a function that builds the network and loads them with "
    "load_state_dict(torch.load(file, weights_only=True)), and give my_model.py:function"
)
TAKEN = "a name such as efficientnet_lite0 or resnet18, my_model.py:function, a TorchScript file, or a .pt2 file"


class Refused(ValueError):
    """A network or pictures that are not taken; the text is the sentence for the user."""


def load_any(
    model: str,
    *,
    side: int = 224,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    classes: Sequence[str] | None = None,
) -> Classifier:
    """Return a classifier for whatever a user gives.

    Taken are the name of a network of the course or of torchvision; ``my_model.py:function``, a function without
    arguments that returns a ``torch.nn.Module`` or a :class:`helpers.models.Classifier`; a TorchScript file; a ``.pt2``
    file of ``torch.export``. The file of ``torch.save(model)`` is refused: to load it runs code that is in the file.

    Args:
        model: the name, the function, or the path.
        side: the height and width that the network takes, unless the classifier brings its own preprocess: of the
            square that is cut from the middle of a picture, 256/224 times as large.
        mean: what is subtracted, for pixels from 0 to 1; ImageNet's unless given, 0 for a network of grey pictures.
        std: what it is divided by; ImageNet's unless given, 1 for a network of grey pictures.
        classes: names of the classes; their numbers unless given.

    Returns:
        A :class:`helpers.models.Classifier`, whose layer is empty where it is not known.

    Raises:
        Refused: it cannot be taken; the sentence names the cure.

    >>> from helpers.report import load_any
    >>> load_any("shapes_resnet").layer
    'layer4'
    >>> load_any("my_weights.safetensors")
    Traceback (most recent call last):
    ...
    helpers.report.loading.Refused: There is no file my_weights.safetensors: check the path.
    """
    path, _, function = model.rpartition(":")
    if path.endswith(".py"):
        found = _built(Path(path).expanduser(), function)
    elif model.endswith(".py"):
        raise Refused(f"{model} may hold many functions: give {model}:function, the one that returns the network.")
    elif "/" in model or "\\" in model or Path(model).suffix:
        found = _read(Path(model).expanduser())
    else:
        found = _named(model)
    if isinstance(found, Classifier):
        return found
    first = first_convolution(found)
    channels = first.in_channels if isinstance(first, nn.Conv2d) else 3
    usual = IMAGENET if channels == 3 else ((0.0,), (1.0,))
    centre, width = (torch.tensor(one, dtype=torch.float32) for one in (mean or usual[0], std or usual[1]))
    if not {len(centre), len(width)} <= {1, channels}:
        raise Refused(f"The network takes {channels} channels: give as many numbers, or one, for --mean and --std.")

    def preprocess(pictures: object) -> Tensor:
        several = pictures if isinstance(pictures, list | tuple) else [pictures]
        return torch.stack([_as_input(picture, side, channels, centre, width) for picture in several])

    found = found if isinstance(found, torch.jit.ScriptModule) else found.eval()
    try:
        with torch.no_grad():
            number = _classes(found(torch.zeros(1, channels, side, side)))
    except Exception as error:  # the user's code may raise any error
        raise Refused(
            f"{model} does not take [1, {channels}, {side}, {side}] ({_first_line(error)}): give the side that it "
            "takes with --side, or return a Classifier with its own preprocess."
        ) from error
    names = list(classes or map(str, range(number)))
    if len(names) != number:
        raise Refused(f"The network has {number} classes and --classes {len(names)} names: give one name for each.")
    return Classifier(found, names, preprocess, "", "course", Path(path or model).stem, "unknown pictures")


def find_pictures(paths: Sequence[str], most: int = 8) -> tuple[list[Path], list[str]]:
    """Return picture files, at most so many, and a sentence for each file that is left out.

    Args:
        paths: files, and folders whose pictures are taken in the order of their names; of many pictures those that
            are spread evenly.
        most: how many pictures at most.

    Raises:
        Refused: no path exists, or no picture can be read.

    >>> from helpers.course import ROOT
    >>> from helpers.report import find_pictures
    >>> [path.name for path in find_pictures([str(ROOT / "datasets")])[0]]
    ['0.png', '3.png', '8.png']
    """
    found, left_out = [], []
    for name in paths:
        path = Path(name).expanduser()
        if path.is_dir():
            found += sorted(one for one in path.iterdir() if one.suffix.lower() in PICTURES)
        elif path.is_file():
            found.append(path)
        else:
            raise Refused(f"There is no file or folder {name}: check the path.")
    readable = []
    for path in found:
        try:
            read_picture(path)
            readable.append(path)
        except (ValueError, OSError) as error:
            left_out.append(str(error))
    if not readable:
        why = f" ({left_out[0]})" if left_out else ""
        raise Refused(f"There is no picture in {', '.join(map(str, paths))}{why}: give JPEG or PNG files.")
    if len(readable) > most:
        left_out.append(
            f"{len(readable) - most} of {len(readable)} pictures were left out: --most says how many are taken."
        )
        readable = [readable[i * len(readable) // most] for i in range(most)]
    return readable, left_out


def _named(name: str) -> Classifier:
    try:
        found = load_classifier(name)
    except ValueError as error:
        raise Refused(f"{error} Taken are {TAKEN}.") from error
    if found.name != name:
        raise Refused(
            f"The weights of {name} are not here: fetch them with COURSE_WORLD=public, or build the network in a file "
            "and give my_model.py:function."
        )
    return found


def _built(path: Path, function: str) -> nn.Module | Classifier:
    if not path.is_file():
        raise Refused(f"There is no file {path}: check the path.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))  # the file may import its neighbours
    try:
        spec.loader.exec_module(module)
        build = getattr(module, function, None)
        if not callable(build):
            names = [n for n, v in vars(module).items() if inspect.isfunction(v) and v.__module__ == module.__name__]
            raise Refused(f"{path.name} has no function {function!r}; it has {', '.join(names) or 'none'}.")
        found = build() if not isinstance(build, nn.Module) else build
    except Refused:
        raise
    except Exception as error:  # the user's code may raise any error
        raise Refused(
            f"{path.name}:{function} stopped with {type(error).__name__}: {error}. Mend it and call again."
        ) from error
    finally:
        sys.path.remove(str(path.parent.resolve()))
    if not isinstance(found, nn.Module | Classifier):
        raise Refused(f"{function} returns a {type(found).__name__}: let it return a torch.nn.Module or a Classifier.")
    return found


def _read(path: Path) -> nn.Module:
    if not path.is_file():
        raise Refused(f"There is no file {path}: check the path.")
    suffix = path.suffix.lower()
    if suffix in (".safetensors", ".bin"):
        raise Refused(f"{path.name} {WEIGHTS}.")
    if suffix in (".onnx", ".h5", ".keras", ".tflite", ".pb", ".mlmodel"):
        raise Refused(f"{path.name} is not a network of PyTorch: give {TAKEN}.")
    inside = zipfile.ZipFile(path).namelist() if zipfile.is_zipfile(path) else []
    if suffix == ".pt2" or any("serialized_exported_program" in name or "/models/" in name for name in inside):
        return _exported(path)
    if any(name.rpartition("/")[2] == "constants.pkl" for name in inside):
        try:
            return torch.jit.load(str(path), map_location="cpu").eval()
        except Exception as error:
            raise Refused(
                f"{path.name} cannot be read as a TorchScript file: save it again with torch.jit.save."
            ) from error
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        whole = inside or path.read_bytes()[:1] == b"\x80"
        if not whole:
            raise Refused(f"{path.name} is no file of PyTorch, or is damaged: give {TAKEN}.") from error
        raise Refused(
            f"{path.name} is a whole object of torch.save, and to load it runs code that is inside of it: save "
            "model.state_dict() instead, build the network in a file, and give my_model.py:function."
        ) from error
    raise Refused(f"{path.name} {WEIGHTS}.")


def _exported(path: Path) -> nn.Module:
    """Return the network in a file of torch.export, with the modules that it had."""
    try:
        program = torch.export.load(path)
        model = torch.export.unflatten(program)
    except Exception as error:
        raise Refused(
            f"{path.name} cannot be read as a file of torch.export: save it again with torch.export.save."
        ) from error
    sizes = [node.meta["val"].shape for node in program.graph.nodes if node.op == "placeholder" and "val" in node.meta]
    if sizes and isinstance(sizes[-1][0], int):
        raise Refused(
            f"{path.name} was exported for batches of {int(sizes[-1][0])}, and explaining takes many pictures at a "
            "time: export it with dynamic_shapes=({0: torch.export.Dim.AUTO},) and an example of two pictures."
        )
    for module in model.modules():
        module.training = False
    return model


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _as_input(picture: object, side: int, channels: int, mean: Tensor, std: Tensor) -> Tensor:
    """Return the square in the middle of a picture, float [C, side, side], normalised."""
    image = torch.from_numpy(read_picture(picture)).permute(2, 0, 1)[None].float() / 255
    if channels == 1:
        image = (image * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    shown = min(image.shape[2:]) if min(image.shape[2:]) <= side else round(min(image.shape[2:]) * 224 / 256)
    top, left = (image.shape[2] - shown) // 2, (image.shape[3] - shown) // 2
    image = image[:, :, top : top + shown, left : left + shown]
    image = F.interpolate(image, (side, side), mode="bilinear", antialias=True, align_corners=False)
    return ((image - mean[:, None, None]) / std[:, None, None])[0]


def _classes(output: object) -> int:
    """Return how many classes there are in what a network gives for one picture."""
    return read(output, 1).shape[1]
