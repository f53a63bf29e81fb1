"""Nine photographs that come inside packages of the course, so that they are there offline; and mosaics of four.

The pictures stay in their packages, and are read from there without importing these.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from helpers.course import say_once
from helpers.data.picture_files import Picture, read_picture


class Source(NamedTuple):
    """Where a photograph lies, what it shows, who may use it, and its classes among ImageNet's 1,000."""

    package: str
    file: str
    title: str
    licence: str
    categories: tuple[int, ...]


PHOTOGRAPHS = {
    "coffee": Source("skimage", "data/coffee.png", "a cup of coffee", "CC0, Rachel Michetti", (967, 968)),
    "camera": Source("skimage", "data/camera.png", "a camera on a tripod", "CC0, Lav Varshney", (872,)),
    "chelsea": Source("skimage", "data/chelsea.png", "Chelsea the cat", "CC0, Stefan van der Walt", (282, 285, 281)),
    "motorcycle": Source(
        "skimage",
        "data/motorcycle_right.png",
        "a motorcycle",
        "may be used and published, Middlebury College; cite Scharstein et al., 2014",
        (665, 670),
    ),
    "rocket": Source("skimage", "data/rocket.jpg", "a rocket", "public domain, SpaceX", (657, 744)),
    "astronaut": Source("skimage", "data/astronaut.png", "Eileen Collins, astronaut", "public domain, NASA", ()),
    "china": Source(
        "sklearn", "datasets/images/china.jpg", "a tower of the Summer Palace", "CC BY 2.0, danielbuechele", (698,)
    ),
    "flower": Source("sklearn", "datasets/images/flower.jpg", "a dahlia", "CC BY 2.0, vultilion", ()),
    "grace_hopper": Source(
        "matplotlib",
        "mpl-data/sample_data/grace_hopper.jpg",
        "Grace Hopper, rear admiral",
        "public domain, United States Navy",
        (652,),
    ),
}
INSTALLED_AS = {"skimage": "scikit-image", "sklearn": "scikit-learn", "matplotlib": "matplotlib"}


def photograph(name: str) -> Picture:
    """Return one of the course's nine photographs.

    Args:
        name: ``coffee``, ``camera``, ``chelsea``, ``motorcycle``, ``rocket``, ``astronaut``, ``china``, ``flower`` or
            ``grace_hopper``.

    Returns:
        A :class:`helpers.data.Picture` of its own size. Its ``categories`` are the ImageNet classes that name what it
        shows, or come nearest: ImageNet knows no motorcycle, but a moped. They are empty where there is none.

    Raises:
        ValueError: an unknown name.
        ModuleNotFoundError: the package that holds it is not installed.

    >>> from helpers.data import photograph
    >>> picture = photograph("chelsea")
    >>> picture.title, picture.image.shape, picture.categories
    ('Chelsea the cat', (300, 451, 3), (282, 285, 281))
    """
    if name not in PHOTOGRAPHS:
        raise ValueError(f"There is no photograph {name!r}; there are {', '.join(PHOTOGRAPHS)}.")
    source = PHOTOGRAPHS[name]
    found = importlib.util.find_spec(source.package)
    if found is None:
        package = INSTALLED_AS[source.package]
        raise ModuleNotFoundError(f"The photograph {name} comes with {package}: run `pip install {package}`.")
    image = read_picture(Path(found.submodule_search_locations[0]) / source.file)
    return Picture(image, source.title, source.categories, licence=source.licence)


def photographs() -> dict[str, Picture]:
    """Return the course's nine photographs by name; see :func:`photograph`.

    Where a package is not installed, a line says so, and its photographs are left out.

    >>> from helpers.data import photographs
    >>> list(photographs())[:3]
    ['coffee', 'camera', 'chelsea']
    """
    found = {}
    for name in PHOTOGRAPHS:
        try:
            found[name] = photograph(name)
        except ModuleNotFoundError as error:
            say_once(str(error))
    return found


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Four photographs in a grid of two by two: which of them a map points at is then known.

    Attributes:
        image: uint8 [448, 448, 3].
        names: of the four photographs: upper left, upper right, lower left, lower right.
        categories: the ImageNet class to ask for, for each quarter.
        masks: bool [4, 448, 448]: which pixels belong to each quarter.

    >>> from helpers.data import mosaics
    >>> one = mosaics(1)[0]
    >>> one.image.shape, [int(mask.sum()) for mask in one.masks]
    ((448, 448, 3), [50176, 50176, 50176, 50176])
    """

    image: np.ndarray
    names: tuple[str, ...]
    categories: tuple[int, ...]
    masks: np.ndarray


def mosaics(count: int, seed: int = 0, names: tuple[str, ...] | None = None, side: int = 224) -> list[Mosaic]:
    """Return mosaics of four different photographs, drawn at random, each in a random quarter.

    This is the **grid pointing game** (Böhle et al., 2021): a map that is asked for one of the four classes should lie
    in that quarter. A map that knows nothing of the class has a quarter of its weight there, on average.

    Args:
        count: how many mosaics.
        seed: of the draw; mosaic i depends on ``seed`` and i alone.
        names: from which photographs to draw, four or more that have an ImageNet class; unless given, all that have.
        side: of each quarter in pixels.

    Returns:
        A list of :class:`Mosaic`.

    Raises:
        ValueError: ``count`` is below one, or there are fewer than four photographs, or one without a class.

    Source:
        Böhle, Fritz and Schiele, "Convolutional Dynamic Alignment Networks for Interpretable Classifications", 2021.

    >>> from helpers.data import mosaics
    >>> mosaics(2, names=("coffee", "camera", "chelsea", "motorcycle"))[1].categories
    (665, 967, 282, 872)
    """
    names = tuple(name for name, source in PHOTOGRAPHS.items() if source.categories) if names is None else tuple(names)
    if count < 1:
        raise ValueError(f"count is {count}; ask for one mosaic or more.")
    if len(set(names)) < 4:
        raise ValueError(f"A mosaic takes four different photographs, not {len(set(names))}.")
    tiles = {name: photograph(name) for name in names}
    if nameless := [name for name, tile in tiles.items() if not tile.categories]:
        raise ValueError(f"ImageNet has no class for {', '.join(nameless)}, so that nobody could ask for it.")
    squares = {name: _square(tile.image, side) for name, tile in tiles.items()}
    masks = np.zeros((4, 2 * side, 2 * side), bool)
    for quarter in range(4):
        masks[quarter, _half(quarter // 2, side), _half(quarter % 2, side)] = True
    drawn = []
    for i in range(count):
        order = np.random.default_rng((seed, i)).permutation(names)[:4]
        rows = [np.concatenate([squares[name] for name in order[start : start + 2]], 1) for start in (0, 2)]
        categories = tuple(tiles[name].categories[0] for name in order)
        drawn.append(Mosaic(np.concatenate(rows), tuple(map(str, order)), categories, masks))
    return drawn


def _half(second: int, side: int) -> slice:
    return slice(side * second, side * (second + 1))


def _square(image: np.ndarray, side: int) -> np.ndarray:
    """Return the square in the middle of a picture, uint8 [side, side, 3]."""
    height, width = image.shape[:2]
    edge = min(height, width)
    left, top = (width - edge) / 2, (height - edge) / 2
    box = (left, top, left + edge, top + edge)
    return np.array(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC, box=box))
