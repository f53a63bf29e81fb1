"""Work spread over the workers of a cluster: all that the course knows of ``dask.distributed``.

What is large is sent to each worker once, and a unit of work is a name and two numbers. Dask gives what a lost worker
had to do to others. What only lost workers had, it cannot bring back: then it is sent, and asked for, again.
"""

import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

from helpers.attribution.progress import watching

if TYPE_CHECKING:
    from distributed import Client, Future

TRIES = 3  # times that everything is sent to workers that were lost
PATIENCE = 300.0  # seconds without a single worker: one that starts anew imports torch, and a pod its image
POLL = 1.0  # seconds
Sent, Unit, Result = TypeVar("Sent"), TypeVar("Unit"), TypeVar("Result")

_ONE_AT_A_TIME = threading.Lock()  # the units of a worker share one network, which methods hook into


def check(client: object, threads: int) -> None:
    """Check that a client can be worked with.

    Raises:
        ImportError: ``dask.distributed`` is not installed.
        TypeError, ValueError: something else than a client, or one that is closed or asynchronous.

    Warns:
        UserWarning: torch would use more threads than a worker was given.
    """
    if not isinstance(client, _distributed().Client):
        raise TypeError(
            f"The client is a {type(client).__name__}; give one of dask.distributed, such as Client('tcp://...:8786')."
        )
    if client.asynchronous or client.status != "running":
        raise ValueError("The client is closed or asynchronous; give one that Client(...) has connected.")
    least = min(client.nthreads().values(), default=threads)
    if threads > least:
        warnings.warn(
            f"Torch uses {threads} threads for a unit and a worker has {least}: for the same scores, but faster, give "
            f"threads={least} to the scoreboard, on the cluster and off it.",
            stacklevel=3,
        )


def spread(
    client: "Client", work: Callable[[Sent, Unit], Result], sent: Sent, units: list[Unit]
) -> Iterator[tuple[Unit, Result]]:
    """Yield each unit with ``work(sent, unit)``, done on the workers, as they come in.

    Args:
        client: checked by :func:`check`.
        work: a function of a module that the workers can import.
        sent: what all units need; copied to each worker once.
        units: small things.

    Raises:
        RuntimeError: there are no workers, or they were lost ``TRIES`` times.
        Exception: what ``work`` raises, as it is.
    """
    waiting = list(units)
    for _ in range(TRIES):
        if waiting:
            waiting = yield from _once(client, work, sent, waiting)
    if waiting:
        raise RuntimeError(
            f"The workers were lost {TRIES} times, with {len(waiting)} units not done, the first of them {waiting[0]}: "
            "look for the reason in the workers' logs, most often too little memory, and call again."
        )


def _once(client: "Client", work: Callable, sent: Sent, units: list[Unit]) -> Iterator[tuple[Unit, Result]]:
    """Send all to the workers, yield what they do, and return the units that were lost with them."""
    _wait(client)
    try:
        (data,) = client.scatter([sent], broadcast=True, hash=False)
    except OSError:  # a worker went just then, or none took it in time
        return units
    futures, done, lost = client.map(_alone, units, work=work, sent=data, pure=False), SimpleQueue(), []
    running = dict(zip(futures, units, strict=True))
    try:
        for future in futures:
            future.add_done_callback(done.put)
        while running:
            future = _next(client, done)
            unit = running.pop(future)
            try:
                result = future.result(timeout=PATIENCE)
            except (CancelledError, _distributed().KilledWorker):
                lost.append(unit)
            except TimeoutError:
                if future.status == "error":  # of the work itself
                    raise
                lost.append(unit)  # with the worker that had done it
            else:
                yield unit, result
    finally:
        if client.status == "running":
            client.cancel(list(running))
    return lost


def _alone(unit: Unit, work: Callable[[Sent, Unit], Result], sent: Sent) -> Result:
    """Do a unit on a worker, without a bar that nobody sees."""
    with _ONE_AT_A_TIME, watching(lambda *step: None):
        return work(sent, unit)


def _next(client: "Client", done: SimpleQueue) -> "Future":
    """Return the next future that is done; wait as long as there are workers."""
    while True:
        try:
            return done.get(timeout=POLL)
        except Empty:
            _wait(client)


def _wait(client: "Client") -> None:
    """Wait for a worker to be there."""
    started = time.monotonic()
    while not _workers(client):
        if time.monotonic() - started > PATIENCE:
            raise RuntimeError(
                f"The cluster has had no worker for {PATIENCE:.0f} seconds: start one, `dask worker` with the "
                "scheduler's address, and call again."
            )
        time.sleep(POLL)


def _workers(client: "Client") -> int:
    """Return how many workers there are."""
    if client.status == "running":
        try:
            return len(client.nthreads())
        except OSError:
            pass
    raise RuntimeError("The scheduler cannot be reached: start it again, and call again with a new client.")


@contextmanager
def connected(workers: int | None = None, scheduler: str | None = None) -> Iterator["Client"]:
    """Inside the block, a client: of a scheduler that runs at an address, or of workers started on this machine.

    Args:
        workers: how many to start, a process of one thread each; they end with the block.
        scheduler: its address, such as ``tcp://10.0.0.1:8786``.

    Raises:
        ImportError: ``dask.distributed`` is not installed.
        OSError: there is no scheduler at the address.
        ValueError: no workers are asked for.
    """
    distributed = _distributed()
    if scheduler:
        with distributed.Client(scheduler) as client:
            yield client
        return
    if not workers or workers < 1:
        raise ValueError(f"workers is {workers}; give how many to start, 1 or more, or a scheduler's address.")
    import dask

    here = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}  # what no other machine reaches
    log = logging.getLogger("distributed.nanny")
    level = log.level
    try:
        # A worker that was killed starts anew, and imports torch: Dask would give it up after a quarter of a minute.
        with (
            dask.config.set({"distributed.deploy.lost-worker-timeout": PATIENCE}),
            distributed.LocalCluster(n_workers=workers, threads_per_worker=1, **here) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client
            log.setLevel(logging.ERROR)  # a process with torch in it ends more slowly than Dask expects
    finally:
        log.setLevel(level)


def _distributed() -> ModuleType:
    try:
        import distributed
    except ImportError:
        raise ImportError("A cluster needs Dask, an extra of the course: python -m pip install distributed.") from None
    return distributed
