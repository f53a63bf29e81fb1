"""Work in chunks, with a bar that appears when it takes long, or with a watcher that may stop it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor
from tqdm.auto import tqdm

Step = Callable[[int, int, str], None]
_WATCHER: ContextVar[Step | None] = ContextVar("watcher", default=None)


@contextmanager
def watching(step: Step) -> Iterator[None]:
    """Inside the block call ``step(done, total, what)`` after each chunk, in place of a bar.

    What ``step`` raises ends the work; the methods leave nothing behind then, as after any error. It holds for the
    thread that entered the block.
    """
    token = _WATCHER.set(step)
    try:
        yield
    finally:
        _WATCHER.reset(token)


def in_chunks(total: int, chunk: int | None, what: str, x: Tensor) -> Iterator[Tensor]:
    """Yield the numbers 0 to ``total - 1`` in order, as int64 tensors of nearly equal length, at most ``chunk``.

    After two seconds a progress bar appears, headed by ``what``; it goes when the work is done.

    Args:
        total: how many rows there are.
        chunk: how many at once; unless given, as many of the size of ``x[0]`` as were fastest on two cores: few large
            ones, a hundred small ones.
        what: the words on the bar.
        x: rows as they go through the network, [N, ...].

    Raises:
        ValueError: a chunk that is no positive whole number.
    """
    if chunk is None:
        chunk = max(1, min(100, 3_000_000 // x[0].numel()))
    if isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1:
        raise ValueError(f"chunk is {chunk!r}; give how many pictures may go through the network at once, 1 or more.")
    watcher = _WATCHER.get()
    with tqdm(total=total, desc=what, delay=2, leave=False, disable=watcher is not None) as bar:
        for numbers in torch.arange(total).tensor_split(max(1, -(-total // chunk))):
            yield numbers
            bar.update(len(numbers))
            if watcher:
                watcher(int(numbers[-1]) + 1, total, what)
