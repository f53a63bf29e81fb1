"""Going to the network with care: who answers, one bar a download, an end to waiting, why it failed."""

import errno
import io
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from http.client import HTTPException
from pathlib import Path
from types import ModuleType
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from tqdm.auto import tqdm

GLANCE = 1.5  # seconds that an unasked look for the network may take; two hosts together stay below five
PATIENCE = 15.0  # seconds that a host may take to answer when a download was asked for
SILENCE = 15.0  # seconds without a byte after which a download is given up
ERRORS = (OSError, HTTPException, RuntimeError, EOFError, zlib.error)  # what a download may raise
MEGABYTE = 2**20  # as torchvision counts the sizes of its weights
_answers: dict[str, bool] = {}  # host: did it answer when last asked?


class FetchError(RuntimeError):
    """A public file is not here, cannot be fetched or cannot be used; the text says which, and the cure."""


def answering(urls: Sequence[str], *, seconds: float, again: bool = False) -> list[str]:
    """Return those of the addresses whose hosts answer within ``seconds``, in their order.

    All hosts are asked at once, each in a thread of its own that is left behind when its time is up: the
    look-up of a name heeds no time limit. A host that refuses (404, an unknown certificate) has answered.

    Args:
        urls: http or https addresses.
        seconds: for all of them together.
        again: ask also the hosts whose answer is known from earlier in this session.
    """
    hosts = {urlsplit(url).netloc: url for url in urls}
    unknown = {host: url for host, url in hosts.items() if again or host not in _answers}
    heard: set[str] = set()

    def ask(host: str, url: str) -> None:
        try:
            urlopen(Request(url, method="HEAD"), timeout=seconds).close()
        except HTTPError:
            pass
        except (OSError, HTTPException, ValueError) as error:
            if not isinstance(getattr(error, "reason", None), ssl.SSLError):
                return
        heard.add(host)

    threads = [threading.Thread(target=ask, args=pair, daemon=True) for pair in unknown.items()]
    end = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    _answers.update({host: host in heard for host in unknown})
    return [url for url in urls if _answers[urlsplit(url).netloc]]


@contextmanager
def downloading(module: ModuleType, name: str, size: float) -> Iterator[tqdm]:
    """Let a library's own downloader run with one bar, with an end to waiting, and without its prints.

    Args:
        module: the downloader's module, which shows its progress through what it calls ``tqdm``.
        name: what the bar says.
        size: megabytes in all.

    Yields:
        The bar; the size of files that need no download may be added to it.
    """
    limit, bars = socket.getdefaulttimeout(), module.tqdm
    unit = {"unit": "B", "unit_scale": True, "unit_divisor": 1024}
    with tqdm(desc=name, total=round(size * MEGABYTE), **unit) as bar:
        socket.setdefaulttimeout(SILENCE)
        module.tqdm = lambda *args, **kwargs: nullcontext(bar)
        try:
            with redirect_stdout(io.StringIO()):
                yield bar
        finally:
            module.tqdm = bars
            socket.setdefaulttimeout(limit)


def is_local(error: BaseException) -> bool:
    """Tell whether the fault lies with this machine's disk, so that another server would not help."""
    if not isinstance(error, OSError) or isinstance(error, URLError):
        return False
    return error.filename is not None or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO)


def reason(error: BaseException, url: str, folder: Path) -> str:
    """Say in half a sentence why a download from ``url`` into ``folder`` failed."""
    host = urlsplit(url).hostname
    cause = error.reason if isinstance(error, URLError) and not isinstance(error, HTTPError) else error
    if is_local(error):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return f"the disk is full ({folder})" if full else f"{folder} cannot be written to ({error.strerror})"
    if isinstance(error, HTTPError):
        return f"{host} answers {error.code} ({error.msg})"
    if isinstance(cause, TimeoutError):
        return f"{host} has been silent for {SILENCE:g} seconds"
    if isinstance(cause, RuntimeError):  # torch and torchvision raise it for a wrong checksum
        return f"what {host} sends has the wrong checksum, it is damaged or cut short"
    return f"the connection to {host} failed ({cause})"
