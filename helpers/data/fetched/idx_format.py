"""MNIST's idx format: a type, a shape, and the numbers; packed with gzip where the name ends in .gz."""

import gzip
import zlib
from pathlib import Path

import numpy as np

IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_idx(path: str | Path) -> np.ndarray:
    """Read an array from a file in MNIST's idx format; one that ends in ``.gz`` is unpacked on the way.

    Args:
        path: of the file.

    Returns:
        The array, in the shape and the type of numbers that the file names.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not in this format, or it is cut short.
    """
    path = Path(path)
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except EOFError as error:
        raise ValueError(f"{path} is cut short; fetch or build it again.") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a gzip file, or it is damaged; fetch or build it again.") from error
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in IDX_TYPES:
        raise ValueError(f"{path} is not an idx file (MNIST's format); check the path.")
    kind, start = np.dtype(IDX_TYPES[data[2]]), 4 + 4 * data[3]
    shape = np.frombuffer(data[4 : len(data[:start]) // 4 * 4], ">i4")
    size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    if len(shape) < data[3] or len(data) < start + size:
        raise ValueError(f"{path} is cut short: {len(data)} bytes; fetch or build it again.")
    array = np.frombuffer(data[start : start + size], kind).reshape(shape)
    return array.astype(kind.newbyteorder("="))  # a copy, which may be written to


def write_idx(path: str | Path, array: np.ndarray) -> None:
    """Write an array in MNIST's idx format, packed if the path ends in ``.gz``: equal arrays give equal bytes.

    Args:
        path: of the file; its folder is made if it is missing.
        array: of any shape; bytes, or whole numbers of 16 or 32 bits, or floats of 32 or 64 bits.

    Raises:
        ValueError: the format has no such type of numbers.

    >>> import tempfile
    >>> from helpers.data.fetched.idx_format import read_idx, write_idx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_idx(f"{folder}/labels.gz", [0.5, 1.5, 2.5])
    ...     read_idx(f"{folder}/labels.gz").tolist()
    [0.5, 1.5, 2.5]
    """
    path, array = Path(path), np.asarray(array)
    kinds = {np.dtype(name).newbyteorder("="): code for code, name in IDX_TYPES.items()}
    if array.dtype.newbyteorder("=") not in kinds:
        raise ValueError(f"idx files cannot hold {array.dtype}; convert the array, for instance to uint8.")
    code = kinds[array.dtype.newbyteorder("=")]
    header = bytes((0, 0, code, array.ndim)) + np.array(array.shape, ">i4").tobytes()
    data = header + array.astype(IDX_TYPES[code]).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data, 9, mtime=0) if path.suffix == ".gz" else data)
