"""What the grader and a student's process say to each other: JSON and safetensors, in which no code can hide.

A message is a JSON object and a block of bytes. Answers travel as trees of ``[kind, content]``: tensors and arrays go
into the block by number, in safetensors' format, and an object of any other kind is no more than the name of its type.
"""

import json
import re
import socket
import struct
import time
from types import EllipsisType, NotImplementedType
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

MOST_TEXT, MOST_BLOCK = 4 << 20, 16 << 20  # bytes of one message; with eight bytes for a number, 128 MB at most
HEAD = struct.Struct("<QQ")  # lengths of the JSON and of the block
DEPTH, LENGTH = 4, 1000  # of lists inside lists, of one list
LETTERS = 6000  # of a text


class Channel:
    """One end of a socket. A message that comes in pieces is kept until it is whole, over time-outs too."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.buffer = sock, bytearray()

    def send(self, message: dict, block: bytes = b"", seconds: float | None = None) -> None:
        """Send a message; raises TimeoutError, or OSError when nobody is there."""
        text = json.dumps(message).encode()
        self.sock.settimeout(seconds)
        self.sock.sendall(HEAD.pack(len(text), len(block)) + text + block)

    def receive(self, seconds: float | None = None) -> tuple[dict, bytes]:
        """Return the next message.

        Raises:
            TimeoutError: it did not come in time; ask again.
            EOFError: nobody is there any more.
            ValueError: it is too long, or no message.
        """
        end = None if seconds is None else time.monotonic() + seconds
        text, block = HEAD.unpack(self._first(HEAD.size, end))
        if text > MOST_TEXT or block > MOST_BLOCK:
            raise ValueError(f"a message of {(text + block) / 1e6:.0f} MB.")
        whole = self._first(HEAD.size + text + block, end)
        del self.buffer[: len(whole)]
        try:
            message = json.loads(whole[HEAD.size : HEAD.size + text])
        except (ValueError, RecursionError):
            raise ValueError("bytes that are no message.") from None
        if not isinstance(message, dict):
            raise ValueError("bytes that are no message.")
        return message, whole[HEAD.size + text :]

    def _first(self, count: int, end: float | None) -> bytes:
        while len(self.buffer) < count:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError
            self.sock.settimeout(left)
            try:
                more = self.sock.recv(1 << 20)
            except ConnectionError:
                more = b""
            if not more:
                raise EOFError
            self.buffer += more
        return bytes(self.buffer[:count])


def pack(value: Any, tensors: dict[str, Tensor], depth: int = 0) -> list:
    """Return a value as a tree for :func:`unpack`; its tensors and arrays are added to ``tensors``."""
    if isinstance(value, str):  # before numpy's numbers, since numpy's strings are of both kinds
        return ["plain", str(value)[:LETTERS]]
    if isinstance(value, np.ndarray | np.generic):
        try:
            return ["array", pack(torch.from_numpy(np.array(value)), tensors)[1]]
        except (TypeError, ValueError):  # of objects, of strings
            return ["other", type(value).__name__, []]
    if isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized:
        tensors[name := str(len(tensors))] = value.detach().cpu().resolve_conj().resolve_neg().clone().contiguous()
        return ["tensor", name]
    if value is None or isinstance(value, EllipsisType | NotImplementedType):
        return ["blank", None]
    if isinstance(value, bool | int | float):
        return ["plain", value]
    if hasattr(value, "images"):  # what class_prototypes returns; its checker has a hint for it
        return ["other", type(value).__name__, ["images"]]
    if isinstance(value, list | tuple) and len(value) <= LENGTH and depth < DEPTH:
        return ["list" if isinstance(value, list) else "tuple", [pack(one, tensors, depth + 1) for one in value]]
    return ["function" if callable(value) else "other", type(value).__name__, []]


def packed(tensors: dict[str, Tensor]) -> bytes:
    """Return tensors as a block; those of a kind that safetensors does not know are left out."""
    known = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
    return save({n: t for n, t in tensors.items() if t.dtype in known or t.dtype.is_floating_point})


def tensors_of(block: bytes) -> dict[str, Tensor]:
    """Return the tensors of a block; raises ValueError if it holds anything else."""
    try:
        return load(block) if block else {}
    except (SafetensorError, KeyError, RuntimeError, TypeError):
        raise ValueError("a block that holds no tensors.") from None


def unpack(tree: Any, tensors: dict[str, Tensor], depth: int = 0) -> Any:
    """Return the value of a tree; functions are left as ``Function``, other objects as an empty one of that name.

    A text is cut here, too, and no tensor may stand in two places: who packs may break these rules.

    Raises:
        ValueError: the tree is none that :func:`pack` makes.
    """
    match tree:
        case ["tensor", str(name)] if name in tensors:
            return tensors.pop(name)
        case ["array", str(name)] if name in tensors:
            return tensors.pop(name).numpy()[()]  # one without axes becomes a number, as torch wants them in lists
        case ["tensor" | "array", str()]:
            return named("Tensor")()
        case ["blank", None]:
            return None
        case ["plain", str(value)]:
            return value[:LETTERS]
        case ["plain", bool() | int() | float() as value]:
            return value
        case ["list" | "tuple" as kind, list(parts)] if depth <= DEPTH:
            values = [unpack(part, tensors, depth + 1) for part in parts]
            return values if kind == "list" else tuple(values)
        case ["function", str(), []]:
            return Function
        case ["other", str(name), list(attributes)]:
            return named(name, **{str(attribute): None for attribute in attributes})()
    raise ValueError("an answer in no known form.")


class Function:
    """Stands for a function of the student's."""


def named(name: str, base: type = object, **attributes: Any) -> type:
    """Return a class that has nothing but a name, for an object or an error that stays in the student's process."""
    return type(re.sub(r"\W", "", name)[:60] or "object", (base,), attributes)
