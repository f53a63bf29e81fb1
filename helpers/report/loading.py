"""What a user has, a network and pictures, as a classifier and files; what cannot be taken is refused with its cure."""

import importlib.util
import inspect
import logging
import re
import sys
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.attribution._common import _WARNED, explaining, first_convolution, read, run
from helpers.data import read_picture
from helpers.models import Classifier, load_classifier

SIDE = 224
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
WEIGHTS = (
    "holds weights without a network: write a function that builds the network and loads them with "
    "load_state_dict(torch.load(file, weights_only=True)), and give my_model.py:function"
)
TAKEN = "a name such as efficientnet_lite0 or resnet18, my_model.py:function, a TorchScript file, or a .pt2 file"

OF_SHAPES = re.compile(r"shape|size|dimension|channel|multipl|height|width|resolution|expand|divisible", re.IGNORECASE)
OF_KINDS = re.compile(r"dtype|scalar type|Input type|same type", re.IGNORECASE)


class Refused(ValueError):
    """A network or pictures that are not taken; the text is the sentence for the user."""


def load_any(
    model: str,
    *,
    side: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    classes: Sequence[str] | None = None,
) -> Classifier:
    """Return a classifier for whatever a user gives.

    Taken are the name of a network of the course or of torchvision; ``my_model.py:function``, a function without
    arguments that returns a ``torch.nn.Module`` or a :class:`helpers.models.Classifier`; a TorchScript file; a ``.pt2``
    file of ``torch.export``. The file of ``torch.save(model)`` is refused: loading such a file can run any code.
    Weights of another precision are turned into float32. What was assumed or changed stands in the ``remarks`` of the
    classifier.

    Args:
        model: the name, the function, or the path.
        side: the height and width that the network takes, of the square that is cut from the middle of a picture,
            256/224 times as large; 224 unless given.
        mean: what is subtracted, for pixels from 0 to 1; ImageNet's unless given, 0 for a network of grey pictures.
        std: what it is divided by; ImageNet's unless given, 1 for a network of grey pictures.
        classes: names of the classes; their numbers unless given. A network that comes with its own preprocess and
            names, as those of the course do, takes none of these four.

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
    options = {"--side": side, "--mean": mean, "--std": std, "--classes": classes}
    if isinstance(found, Classifier):
        unused = [option for option, value in options.items() if value is not None]
        if unused:
            raise Refused(f"{model} brings its own preprocess and classes: leave out {', '.join(unused)}.")
        return found
    channels = _channels(found)
    usual = IMAGENET if channels == 3 else ((0.0,), (1.0,))
    recipe = [tuple(own if one is None else one) for own, one in zip(usual, (mean, std), strict=True)]
    _check_numbers(*recipe, channels, side)
    centre, width = (torch.tensor(one, dtype=torch.float32) for one in recipe)
    assumed = {
        "mean": mean is None and f"mean {in_words(recipe[0])}",
        "std": std is None and f"std {in_words(recipe[1])}",
        "side": side is None and f"side {SIDE}",
    }
    side = SIDE if side is None else side

    def preprocess(pictures: object) -> Tensor:
        several = pictures if isinstance(pictures, list | tuple) else [pictures]
        return torch.stack([_as_input(picture, side, channels, centre, width) for picture in several])

    found = found if isinstance(found, torch.jit.ScriptModule) else found.eval()
    remarks = _turned_to_float32(found)
    if any(assumed.values()):
        options = ", ".join(f"--{name}" for name, words in assumed.items() if words)
        remarks.append(
            f"Assumed: {', '.join(words for words in assumed.values() if words)}. If the network was trained with "
            f"other numbers, its answers and its maps here are not the usual ones: give {options}."
        )
    with heard(found) as warned:
        number = _first_logits(found, torch.zeros(2, channels, side, side), model).shape[1]
    remarks += warned
    names = list(map(str, range(number)) if classes is None else classes)
    if len(names) != number:
        has = "one logit" if number == 1 else f"{number} classes"
        raise Refused(
            f"The network has {has}, and --classes {len(names)} names: give one name for each, on a line of its own."
        )
    about = "", "course", Path(path or model).stem, "unknown pictures"
    return Classifier(found, names, preprocess, *about, *recipe, side, tuple(remarks))


def logits_of(model: nn.Module, x: Tensor, name: str) -> Tensor:
    """Return the logits [N, classes] of a network, or say in a sentence why there are none.

    Args:
        model: the network; left as it was.
        x: pictures, float [N, C, H, W].
        name: what the sentence calls the network.

    Raises:
        Refused: the network does not take the pictures, or gives something else; the sentence names the cure.

    >>> import torch
    >>> from helpers.report.loading import logits_of
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 5))
    >>> logits_of(net, torch.rand(2, 3, 4, 4), "my net").shape
    torch.Size([2, 5])
    """
    due = _precision(model)
    if due not in (None, x.dtype):
        raise Refused(
            f"The weights of {name} are {_short(due)}, and its pictures {_short(x.dtype)}: write .float() where the "
            "network is built."
        )
    try:
        with explaining(model), torch.no_grad():
            output = run(model, x, lambda output: output)
    except Exception as error:  # the user's code may raise any error
        raise Refused(_why_it_stopped(error, x, name)) from error
    try:
        return read(output, len(x))
    except ValueError as error:
        raise Refused(f"{name} {_what_is_given(output, len(x))}") from error


@contextmanager
def heard(model: nn.Module) -> Iterator[list[str]]:
    """Inside the block the warnings on a model are kept, for the page, and the list is filled at its end.

    Each is given once for a model; here they are given again, as a second report needs them as well.

    >>> import torch
    >>> from helpers.report.loading import heard, logits_of
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 5), torch.nn.Softmax(1))
    >>> with heard(net) as warned:
    ...     logits = logits_of(net, torch.rand(2, 3, 4, 4), "my net")
    >>> warned[0][:42]
    'Sequential gives probabilities, not logits'
    """
    _WARNED.pop(model, None)
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield said
    for one in caught:
        if str(one.message).startswith(f"{type(model).__name__} "):
            said += [str(one.message)] * (str(one.message) not in said)
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def in_words(numbers: Sequence[float]) -> str:
    """Return numbers with at most three digits behind the point: "0.485, 0.456, 0.406"."""
    return ", ".join(f"{round(float(number), 3):g}" for number in numbers)


def find_pictures(paths: Sequence[str], most: int = 8) -> tuple[list[Path], list[str]]:
    """Return picture files, at most so many, and a sentence for each file that is left out.

    Args:
        paths: files, and folders whose pictures are taken in the order of their names; of many pictures those that
            are spread evenly.
        most: how many pictures at most.

    Raises:
        Refused: a path does not exist, no picture can be read, or none is asked for.

    >>> from helpers.course import ROOT
    >>> from helpers.report import find_pictures
    >>> [path.name for path in find_pictures([str(ROOT / "datasets")])[0]]
    ['0.png', '3.png', '8.png']
    """
    if most < 1:
        raise Refused(f"--most {most} leaves no picture: give 1 or more, and 4 or more for mosaics.")
    found, left_out = [], []
    for name in paths:
        path = Path(name).expanduser()
        if path.is_dir():
            files = sorted(one for one in path.iterdir() if one.is_file() and not one.name.startswith("."))
            found += [one for one in files if one.suffix.lower() in PICTURES]
            left_out += _other_files(name, [one for one in files if one.suffix.lower() not in PICTURES])
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
        why = f" ({left_out[0].rstrip('.')})" if left_out else ""
        raise Refused(f"There is no picture in {', '.join(map(str, paths))}{why}: give JPEG or PNG files.")
    if len(readable) > most:
        left_out.append(
            f"{len(readable) - most} of {len(readable)} pictures were left out: --most says how many are taken."
        )
        readable = [readable[i * len(readable) // most] for i in range(most)]
    return readable, left_out


def _other_files(folder: str, files: list[Path]) -> list[str]:
    """Return a sentence on the files of a folder whose names are not those of pictures, or nothing."""
    if not files:
        return []
    kinds = ", ".join(sorted({one.suffix.lower() or "without an ending" for one in files}))
    number = "1 file" if len(files) == 1 else f"{len(files)} files"
    return [f"{number} in {folder} ({kinds}) skipped: no name of a picture, such as .jpg or .png."]


def _named(name: str) -> Classifier:
    try:
        found = load_classifier(name)
    except ValueError as error:
        raise Refused(f"{error} Taken are {TAKEN}.") from error
    except RuntimeError as error:  # a file of the course is missing or damaged
        raise Refused(str(error)) from error
    if found.name != name:
        raise Refused(
            f"The weights of {name} are not here: fetch them with COURSE_WORLD=public, or build the network in a file "
            "and give my_model.py:function."
        )
    return found


def _built(path: Path, function: str) -> nn.Module | Classifier:
    if not path.is_file():
        raise Refused(f"There is no file {path}: check the path.")
    spec = importlib.util.spec_from_file_location(f"_given_{path.stem}", path)  # never the name of another module
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look their module up
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
        sys.modules.pop(spec.name, None)
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
    # TorchScript first: the code of torchvision's networks lies in code/__torch__/torchvision/models/
    if "constants.pkl" in {name.rpartition("/")[2] for name in inside} and any("code/__torch__" in n for n in inside):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # on its own age
                return torch.jit.load(str(path), map_location="cpu").eval()
        except Exception as error:
            raise Refused(
                f"{path.name} cannot be read as a TorchScript file: save it again with torch.jit.save."
            ) from error
    if suffix == ".pt2" or any(re.search(r"serialized_exported_program|/models/[^/]+\.json$", one) for one in inside):
        return _exported(path)
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        whole = inside or path.read_bytes()[:1] == b"\x80"
        if not whole:
            raise Refused(f"{path.name} is no file of PyTorch, or is damaged: give {TAKEN}.") from error
        raise Refused(
            f"{path.name} is a whole object of torch.save, and loading such a file can run any code: save "
            "model.state_dict() instead, build the network in a file, and give my_model.py:function."
        ) from error
    raise Refused(f"{path.name} {WEIGHTS}.")


def _exported(path: Path) -> nn.Module:
    """Return the network in a file of torch.export, with the modules that it had."""
    try:
        with _without_log():
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


@contextmanager
def _without_log() -> Iterator[None]:
    """Inside the block nothing below an error is logged: torch.export logs ten lines before it says no."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        yield
    finally:
        logging.disable(before)


def _first_logits(model: nn.Module, x: Tensor, name: str) -> Tensor:
    """Return the logits of two pictures; where one picture is taken and two are not, that is what is said."""
    try:
        return logits_of(model, x, name)
    except Refused as error:
        try:
            logits_of(model, x[:1], name)
        except Refused:
            raise error from error.__cause__
        raise Refused(
            f"{name} takes one picture at a time, and explaining takes many: write x.flatten(1) in place of "
            "x.view(1, -1), and trace or export the network with an example of two pictures. With two pictures: "
            f"{error}"
        ) from error


def _why_it_stopped(error: Exception, x: Tensor, name: str) -> str:
    """Return why a forward pass stopped, and the cure: another side only where it is a matter of shapes."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    line = (lines[-1] if "TorchScript interpreter" in lines[0] else lines[0]).strip().rstrip(".")
    if OF_KINDS.search(line):
        return f"{name} mixes numbers of two precisions ({line}): write .float() where the network is built or saved."
    if OF_SHAPES.search(line):
        return (
            f"{name} does not take {list(x.shape)} ({line}): give the side that it takes with --side, or return a "
            "Classifier with its own preprocess."
        )
    return f"{name} stopped with {type(error).__name__}: {line}. Mend its forward and call again."


def _what_is_given(output: object, count: int) -> str:
    """Return what a network gives in place of one row of logits for each picture, and the cure."""
    wrap = "wrap it in a module whose forward returns [N, classes]"
    part, word = output, "output"
    if isinstance(output, dict):
        known = next((key for key in ("logits", "out") if key in output), None)
        if known is None:
            rows = [key for key, value in output.items() if isinstance(value, Tensor) and value.dim() == 2]
            keys = ", ".join(map(repr, output)) or "no keys"
            best = f', for example output["{rows[0]}"]' if rows else ""
            return f"gives a dict with {keys}, where 'logits' is looked for: {wrap}{best}."
        part, word = output[known], f'output["{known}"]'
    elif hasattr(output, "logits"):
        part, word = output.logits, "output.logits"
    elif isinstance(output, tuple | list) and output:
        part, word = output[0], "output[0]"
    if not isinstance(part, Tensor):
        return f"gives a {type(part).__name__}, and no logits: {wrap}."
    if not part.is_floating_point():
        return f"gives numbers of the kind {_short(part.dtype)}, which are no logits: return what comes before argmax."
    if part.dim() > 2:
        dims = ", ".join(map(str, range(2, part.dim())))
        mean = f"{word}.mean(({dims}))" if part.dim() > 3 else f"{word}.mean({dims})"
        return f"gives {list(part.shape)}, so its output has places, as a segmentation has: {wrap}, for example {mean}."
    rows = len(part) if part.dim() else 1
    given, due = (f"{n} {word}{'s' * (n != 1)}" for n, word in ((rows, "row"), (count, "picture")))
    return f"gives {given} for {due}: let its forward return one row of logits for each picture."


def _precision(model: nn.Module) -> torch.dtype | None:
    """Return in which kind of float the weights are; None without weights."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), None)


def _turned_to_float32(model: nn.Module) -> list[str]:
    """Turn the weights into float32; return a sentence if they were of another precision."""
    before = _precision(model)
    if before in (None, torch.float32):
        return []
    model.float()
    return [
        f"The weights are {_short(before)}; the report turned them into float32, so its logits may differ a little "
        "from those that you know."
    ]


def _channels(model: nn.Module) -> int:
    """Return how many channels a network takes: of its first convolution, or of the first weights that look so."""
    first = first_convolution(model)
    if isinstance(first, nn.Conv2d):
        return first.in_channels
    kernels = next((p for p in model.parameters() if p.dim() == 4), None)  # TorchScript and torch.export know no Conv2d
    return 1 if kernels is not None and kernels.shape[1] == 1 else 3


def _check_numbers(mean: tuple[float, ...], std: tuple[float, ...], channels: int, side: int | None) -> None:
    """Refuse numbers of a recipe that cannot be meant."""
    if side is not None and side < 1:
        raise Refused(f"--side {side} is no size: give the height and width that the network takes, such as {SIDE}.")
    if not {len(mean), len(std)} <= {1, channels}:
        raise Refused(f"The network takes {channels} channels: give as many numbers, or one, for --mean and --std.")
    if not all(number > 0 for number in std):
        raise Refused(
            f"--std {in_words(std)} is not above 0, and the pixels are divided by it: give numbers such as "
            f"{in_words(IMAGENET[1])}."
        )
    if max(map(abs, mean)) > 1 or max(std) > 1:
        raise Refused(
            f"--mean {in_words(mean)} and --std {in_words(std)} are not for pixels from 0 to 1: divide both by 255."
        )


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


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
